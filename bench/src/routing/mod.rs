//! `bench/run routing`: how well requests are routed when providers have bad days, against what others do.
//!
//! A deterministic simulation on a virtual clock: no network, no real time, the same figures on every machine. In
//! reading order:
//!
//! - [`trace`]: what a bad day is; [`catalogue`]: all of them; [`world`]: what becomes of an attempt.
//! - [`policy`]: what a policy sees and says; [`ours`]: the product's own code; [`rivals`]: what others do.
//! - [`cost`]: what a request costs its caller; [`oracle`]: who knows the trace, from whom regret is counted.
//! - [`engine`]: one policy through one trace; [`study`]: all of them through all; [`report`]: what is shown of it.
//!
//! Constants of the product were chosen on the traces of [`TAUGHT`]; figures come from those of [`REPORTED`] alone. Nothing
//! here may be tuned until ours wins: rivals get every doubt's benefit, and prices are stated in one place.

pub mod catalogue;
pub mod cost;
pub mod engine;
mod oracle;
pub mod ours;
pub mod policy;
pub mod report;
pub mod rivals;
pub mod study;
#[cfg(test)]
mod tests;
pub mod trace;
mod variants;
pub mod world;

use serde_json::json;

use self::study::{Entrant, Measured};
use crate::setup;

/// Seeds that constants are chosen on.
pub const TAUGHT: [u64; 8] = [2, 4, 6, 8, 10, 12, 14, 16];
/// Seeds that figures come from.
pub const REPORTED: [u64; 8] = [1, 3, 5, 7, 9, 11, 13, 15];

/// Ours may have at most this part of the regret of the best rival.
const MOST: f64 = 0.5;

/// Measures all policies, and what other settings of ours would do. True if the limit is kept.
pub fn run() -> bool {
    let some = if setup::fast() { 1 } else { REPORTED.len() };
    let mut entrants = vec![Entrant::ours("ours", "")];
    entrants.extend(Entrant::rivals());
    let measured = study::run(&entrants, &REPORTED[..some]);
    report::print(&measured);
    let [ours, rivals @ ..] = measured.as_slice() else { return false };
    let at_price = |price: f64| report::ratio(ours, rivals, |one| one.regret(price));
    let ratio = at_price(cost::ERROR);
    println!("\nOurs, as a part of the best rival: {ratio:.3}, at most {MOST}");
    let [cheap, dear] = [cost::ERROR / 3.0, cost::ERROR * 3.0].map(|price| (price, at_price(price)));
    println!("… were an error worth {:.1} s or {:.0} s: {:.3}, {:.3}", cheap.0, dear.0, cheap.1, dear.1);
    let robust = report::ratio(ours, rivals, |one| one.regret_without_worst(cost::ERROR));
    println!("… each without the trace it regrets the most: {robust:.3}");
    let others = study::run(&variants::entrants(), &TAUGHT[..some]);
    println!("\nOther settings of ours, on the traces that constants are chosen on:");
    report::print_means(&others);
    let json = |all: &[Measured]| all.iter().map(Measured::to_json).collect::<Vec<_>>();
    let figures = json!({
        "error_price_s": cost::ERROR,
        "wasted_price_s": cost::WASTED,
        "ratio": { "must": format!("<= {MOST}"), "got": report::rounded(ratio), "holds": ratio <= MOST },
        "policies": json(&measured),
        "variants": json(&others),
    });
    setup::save_simulated("routing", figures);
    ratio <= MOST
}
