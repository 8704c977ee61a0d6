//! `bench/run scale [--fast]`: many streams, targets, users and cores. Exit 1 if a limit is missed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    concierge_bench::setup::exit(concierge_bench::scale::run().await)
}
