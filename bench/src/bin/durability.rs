//! `bench/run durability [--fast]`: what memory still knows after `kill -9`. Exit 1 if anything acknowledged is lost.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::durability::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
