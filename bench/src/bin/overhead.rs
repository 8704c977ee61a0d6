//! `bench/run overhead [--peers all|NAME,NAME] [--fast]`: what the gateway costs, beside others. Exit 1 if a limit is missed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    concierge_bench::setup::exit(concierge_bench::overhead::run().await)
}
