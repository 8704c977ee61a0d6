//! `bench/run storm [--fast]`: one provider breaks under 200 requests per second. Exit 1 if a limit is missed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::storm::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
