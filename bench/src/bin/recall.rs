//! `bench/run recall [FOLDER] [--fast]`: what memory finds, and how fast. Exit 1 if a limit is missed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::recall::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
