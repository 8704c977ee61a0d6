//! The faults of one provider under the load of many users: 200 requests per second, half of them streamed.
//!
//! The public bench asks once per fault; herds, retry storms and slow learning only show under load. It must never
//! tune the gateway for a fault: every experiment runs with the product's defaults.

mod exact;
mod faults;
pub mod figures;
mod gone;
pub mod load;
pub mod mock;

use serde_json::{Value, json};

use self::figures::Figure;
use crate::setup;

/// Runs everything, prints the tables and saves the figures. True if every limit is kept.
pub async fn run() -> bool {
    let load = setup::load_average();
    println!(
        "{:<32} {:>7} {:>7} {:>7} {:>7} {:>9} {:>8}  kinds of errors",
        "fault", "asked", "errors", "p50 ms", "p99 ms", "attempts", "share"
    );
    let mut figures = Vec::new();
    let mut results = Vec::new();
    for storm in faults::STORMS {
        let result = faults::run(storm).await;
        println!("{}", result.line());
        figures.extend(result.figures());
        results.push(result.to_json());
    }
    println!("\np50, p99: first token during the fault. attempts: per request during the fault.");
    println!("share: requests that the broken one was asked, after the first second of the fault.\n");
    figures.extend(gone::run().await);
    figures.extend(exact::run().await);
    print(&figures);
    let all: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    setup::save("storm", json!({ "load_average_before": load, "limits": all, "faults": results }));
    figures.iter().all(Figure::holds)
}

/// The table of limits.
pub fn print(figures: &[Figure]) {
    println!("\n{:<64} {:>10} {:>10}", "", "must", "got");
    for figure in figures {
        let (relation, limit) = figure.must.parts();
        let must = format!("{relation} {}", figures::round(limit));
        let missed = if figure.holds() { "" } else { "  MISSED" };
        println!("{:<64} {must:>10} {:>10}{missed}", figure.name, figures::round(figure.got));
    }
}
