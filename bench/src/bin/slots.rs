//! `bench/run slots [--fast]`: what one user can do to the others. Exit 1 if a limit is missed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::slots::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
