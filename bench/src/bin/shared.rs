//! `bench/run shared [--fast]`: three gateways and a Redis that is killed, hung and restarted. Exit 1 if a limit is missed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::shared::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
