//! `bench/run telemetry [--fast]`: what counting costs a request. Exit 1 if it is more than 3 % of the processor time.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::telemetry::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
