//! `bench/run instructions [--update]`: instructions of the hot path, counted by valgrind. Exit 1 if one costs more
//! than it did.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    concierge_bench::setup::exit(concierge_bench::instructions::run().await)
}
