//! Instructions of the hot path, counted by valgrind: the one figure that a busy machine does not move.
//!
//! The gateway runs under callgrind twice for each kind of load, the second time with more of it. The difference of the
//! two counts, divided by what there was more of, is the cost of one, without start and end. What has not been counted
//! before must never pass silently: a load without a baseline is a failure.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::{
    overhead::{Ground, OURS, Peer, REMEMBERING, Ready, remember},
    traffic::{self, Pace, Shape},
};

/// What is compared with.
const BASELINE: &str = "bench/instructions.json";
/// Only the sum counts, so no profile is kept.
const VALGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
/// How much more may be counted before it fails, and how much less before the baseline should be renewed.
const TOLERANCE: f64 = 0.03;
/// The same for paced chunks: what a busy machine delivers together is cheaper than one by one.
const PACED_TOLERANCE: f64 = 0.08;

/// One kind of load: what it is called, who is asked for what, and how often more in the second run.
struct Load {
    name: &'static str,
    peer: Peer,
    /// What is changed in the peer's configuration, and into what.
    but: Option<(&'static str, &'static str)>,
    shape: Shape,
    fewer: u32,
    more: u32,
    /// What one answer is divided by: a paced stream costs by the chunk.
    parts: u32,
}

/// The row with a tolerance of its own.
const PACED: &str = "paced chunk";

const LOADS: [Load; 6] = [
    Load::of("plain request", OURS, Shape::Plain, (300, 900)),
    // Memory is on, and the question was asked before.
    Load::of("recalling request", REMEMBERING, Shape::Plain, (300, 900)),
    // What the user says is remembered as well, and was said before.
    Load {
        but: Some(("capture = \"off\"", "capture = \"user\"")),
        ..Load::of("remembering request", REMEMBERING, Shape::Plain, (300, 900))
    },
    Load::of("failover request", OURS, Shape::Failover, (100, 400)),
    Load { parts: 100, ..Load::of(PACED, OURS, Shape::Paced, (2, 6)) },
    Load::of("burst stream", OURS, Shape::Burst, (50, 150)),
];

/// Counts everything, prints the table, and compares with the baseline, or writes it with `--update`.
pub async fn run() -> Result<bool, String> {
    let ground = Ground::start().await?;
    let mut counts = BTreeMap::new();
    for load in &LOADS {
        counts.insert(load.name.to_owned(), load.count(ground.port).await?);
    }
    if std::env::args().any(|arg| arg == "--update") {
        let text = serde_json::to_string_pretty(&counts).map_err(|error| error.to_string())?;
        fs::write(BASELINE, text + "\n").map_err(|error| format!("{BASELINE}: {error}"))?;
    }
    let text = fs::read_to_string(BASELINE).map_err(|error| format!("{BASELINE}: {error}"))?;
    let baseline: Value = serde_json::from_str(&text).map_err(|error| format!("{BASELINE}: {error}"))?;
    Ok(print(&counts, &baseline))
}

impl Load {
    const fn of(name: &'static str, peer: Peer, shape: Shape, (fewer, more): (u32, u32)) -> Self {
        Self { name, peer, but: None, shape, fewer, more, parts: 1 }
    }

    /// Instructions of one.
    async fn count(&self, provider: u16) -> Result<u64, String> {
        let fewer = self.total(provider, self.fewer).await?;
        let more = self.total(provider, self.more).await?;
        Ok(more.saturating_sub(fewer) / u64::from((self.more - self.fewer) * self.parts))
    }

    /// Instructions of a whole run with so many requests, one after the other. What an earlier run remembered is gone.
    async fn total(&self, provider: u16, requests: u32) -> Result<u64, String> {
        let changed = |text: String| self.but.map_or(text.clone(), |(from, to)| text.replace(from, to));
        let ready = Ready::prepare(self.peer, provider).await?.configured(changed)?.under(&VALGRIND);
        let running = ready.start().await?;
        if self.peer == REMEMBERING {
            remember(&running).await?;
        }
        let measured = traffic::run(running.plan(self.shape, Pace::Exactly(requests), 1)).await;
        if let Some(why) = measured.first_error {
            return Err(format!("{}: {why}", self.name));
        }
        let said = running.end().await?;
        let count = said.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
        count.ok_or_else(|| format!("valgrind did not say what it counted: {said}"))
    }
}

/// The table. True if nothing costs more than it did.
fn print(counts: &BTreeMap<String, u64>, baseline: &Value) -> bool {
    println!("{:<20} {:>12} {:>12} {:>8}", "instructions per", "baseline", "now", "change");
    let mut kept = true;
    for (name, now) in counts {
        let before = baseline[name].as_u64().unwrap_or(0);
        let paced = name == PACED;
        let verdict = verdict(before, *now, if paced { PACED_TOLERANCE } else { TOLERANCE });
        kept &= verdict != Verdict::Missed;
        let change = (*now as f64 / before as f64 - 1.0) * 100.0;
        println!("{name:<20} {before:>12} {now:>12} {change:>+7.1}%  {}", verdict.words());
    }
    kept
}

/// What a count means beside its baseline.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Missed,
}

impl Verdict {
    fn words(&self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Better => "better: renew the baseline with `bench/run instructions --update`",
            Self::Missed => "MISSED",
        }
    }
}

fn verdict(before: u64, now: u64, tolerance: f64) -> Verdict {
    let change = now as f64 / before as f64 - 1.0;
    if before == 0 || change > tolerance {
        Verdict::Missed
    } else if change < -tolerance {
        Verdict::Better
    } else {
        Verdict::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_than_the_tolerance_is_missed() {
        assert_eq!(verdict(100_000, 102_900, TOLERANCE), Verdict::Same);
        assert_eq!(verdict(100_000, 103_100, TOLERANCE), Verdict::Missed);
        assert_eq!(verdict(100_000, 90_000, TOLERANCE), Verdict::Better);
    }

    #[test]
    fn what_was_never_counted_does_not_pass() {
        assert_eq!(verdict(0, 5, TOLERANCE), Verdict::Missed);
        let counts = BTreeMap::from([("plain request".to_owned(), 5)]);
        assert!(!print(&counts, &Value::Null));
        assert!(print(&counts, &serde_json::json!({"plain request": 5})));
    }
}
