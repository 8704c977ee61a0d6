//! `bench/run failover [--fast]`: the sixteen scenarios of the public Failover Bench. Exit 1 unless all of them pass, the two extra runs included.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::failover::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
