//! `bench/run grown [FOLDER] [quality] [killed] [away] [--fast]`: memory in PostgreSQL. Exit 1 if a limit is missed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if concierge_bench::grown::run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
