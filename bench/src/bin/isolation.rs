//! `bench/run isolation [--fast]`: what memory tells to whom, and what it has forgotten. Exit 1 if it tells too much.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::isolation::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
