//! `bench/run peers [--fast]`: what a second gateway learns of a provider that dies. Exit 1 if a limit is missed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    concierge_bench::setup::exit(concierge_bench::peers::run().await)
}
