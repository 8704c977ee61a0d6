//! `bench/run failover [--fast]`: the sixteen scenarios of the public Failover Bench. Exit 1 unless all pass.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::failover::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
