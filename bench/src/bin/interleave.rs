//! `bench/run interleave [--fast]`: recalls of two gateways in a race with writes. Exit 1 if anything stale is recalled.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::grown::interleave::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
