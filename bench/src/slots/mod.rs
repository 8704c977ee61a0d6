//! What one user can do to the others, and to the gateway: slots, limits, identity.
//!
//! Each part starts a gateway of its own with the few settings that it names. It must never look inside: what ran at
//! once is what the provider saw, and what was lost is what the operator's views still show.

mod crowd;
mod gone;
mod greed;
mod limits;
mod strangers;
mod turns;

use std::process::Command;

use concierge_testkit::{ConfigFile, FakeProvider, Gateway};
use serde_json::{Value, json};

use crate::{
    setup,
    storm::{self, figures::Figure},
};

/// Nanoseconds to take and give back a free slot.
const COST_NS: f64 = 1_000.0;

/// Measures everything, or only the parts named as arguments (then nothing is saved). True if every limit is kept.
pub async fn run() -> bool {
    let load = setup::load_average();
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let mut figures = Vec::new();
    if wanted("greed") {
        figures.extend(greed::run().await);
    }
    if wanted("gone") {
        figures.extend(gone::run().await);
    }
    if wanted("turns") {
        figures.extend(turns::run().await);
    }
    if wanted("limits") {
        figures.extend(limits::run().await);
    }
    if wanted("strangers") {
        figures.extend(strangers::run().await);
    }
    if wanted("cost") {
        figures.push(Figure::at_most("a free slot, taken and given back, ns", COST_NS, cost()));
    }
    storm::print(&figures);
    let all: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    if only.is_empty() {
        setup::save("slots", json!({ "load_average_before": load, "limits": all }));
    }
    figures.iter().all(Figure::holds)
}

/// A gateway in front of `provider`, with these settings of `[slots]`.
async fn gateway(provider: &FakeProvider, slots: &[(&str, &str)]) -> Gateway {
    start(provider, slots, |config| config).await
}

/// The same, with more of a configuration.
async fn start(
    provider: &FakeProvider,
    slots: &[(&str, &str)],
    more: impl FnOnce(ConfigFile) -> ConfigFile,
) -> Gateway {
    let config = ConfigFile::new().provider("a", provider).model("m", &["a/m"]);
    let config = slots.iter().fold(config, |config, (key, value)| config.set("slots", key, value));
    setup::launch().start(more(config).toml()).await
}

/// What `slot-cost` prints; NaN, which misses every limit, if it is not there.
fn cost() -> f64 {
    let path = setup::release("slot-cost");
    let output = Command::new(&path).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        println!("no slot-cost at {}: cargo build --release -p concierge-bench", path.display());
        f64::NAN
    })
}
