//! `bench/run routing [--fast]`: policies on simulated bad days. Exit 1 if ours does not keep its limit.

use std::process::ExitCode;

fn main() -> ExitCode {
    if concierge_bench::routing::run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
