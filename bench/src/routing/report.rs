//! Tables for people. It must never round before it judges.

use super::{cost, study::Measured};

/// Width of the column of names, and of each other.
const NAMES: usize = 24;
const COLUMN: usize = 10;

/// Regret by trace and policy, then the means of everything.
pub fn print(all: &[Measured]) {
    println!("Regret against the oracle, milliseconds per call (an error costs {} s):\n", cost::ERROR);
    let short = |name: &str| name.replace("LiteLLM ", "LL ").replace("agentgateway", "agentgw");
    let head: String = all.iter().map(|one| format!("{:>COLUMN$}", truncated(&short(one.name)))).collect();
    println!("{:NAMES$}{head}", "");
    for (i, kind) in all[0].kinds.iter().enumerate() {
        let row = all.iter().map(|one| ms(one.kinds[i].regret(cost::ERROR))).collect::<String>();
        println!("{:NAMES$}{row}", kind.name);
    }
    println!();
    print_means(all);
}

/// One line for each policy: the means over all kinds of traces.
pub fn print_means(all: &[Measured]) {
    let head =
        ["regret ms", "errors %", "p50 ms", "p99 ms", "wasted %"].map(|name| format!("{name:>COLUMN$}"));
    println!("{:NAMES$}{}", "mean over all traces", head.concat());
    for one in all {
        let percent = |part: f64| format!("{:>COLUMN$.2}", 100.0 * part);
        let figures = [
            ms(one.regret(cost::ERROR)),
            percent(one.mean(|kind| kind.errors())),
            ms(one.mean(|kind| kind.first_token(0.5))),
            ms(one.mean(|kind| kind.first_token(0.99))),
            percent(one.mean(|kind| kind.wasted())),
        ];
        println!("{:NAMES$}{}", one.name, figures.concat());
    }
}

/// Our regret as a part of the best rival's.
pub fn ratio(ours: &Measured, rivals: &[Measured], regret: impl Fn(&Measured) -> f64) -> f64 {
    let best = rivals.iter().map(&regret).fold(f64::INFINITY, f64::min);
    regret(ours) / best
}

/// For the results file: a tenth of a millisecond, or of a thousandth.
pub fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

fn ms(seconds: f64) -> String {
    format!("{:>COLUMN$.1}", 1000.0 * seconds)
}

fn truncated(name: &str) -> String {
    name.chars().take(COLUMN - 1).collect()
}
