//! The scorecard: our rows, the totals, and the published totals of others beside them.
//!
//! It must never compute a verdict.

use serde_json::{Value, json};

use super::{
    Row,
    verdict::{Seen, Verdict},
};

/// Pass, partial, safe, fail as published on 2026-09-12 (full profile, methodology v0.1).
const PUBLISHED: [(&str, [usize; 4]); 8] = [
    ("reference client, the ceiling", [16, 0, 0, 0]),
    ("DeepSeek Harness, fallbacks", [12, 3, 1, 0]),
    ("Portkey Gateway, OSS", [11, 2, 0, 3]),
    ("Bifrost v2.1.1", [9, 3, 3, 1]),
    ("LiteLLM proxy", [9, 3, 4, 0]),
    ("LangChain with_fallbacks", [9, 3, 4, 0]),
    ("openai-python SDK alone", [6, 0, 10, 0]),
    ("no gateway", [4, 0, 12, 0]),
];

const SCALE: [Verdict; 4] = [Verdict::Pass, Verdict::Partial, Verdict::Safe, Verdict::Fail];

/// Prints everything.
pub fn print(rows: &[Row]) {
    println!(
        "{:<5} {:<42} {:<8} {:>7} {:>9} {:>6}  notes",
        "", "scenario", "verdict", "time", "attempts", "gap"
    );
    for row in rows {
        let (id, title) = (row.scenario.id, row.scenario.title);
        let id = if row.prefill { format!("{id}+") } else { id.to_owned() };
        let attempts = format!("{}p/{}f", row.seen.primary.len(), row.seen.fallback.len());
        let (verdict, time, gap) = (row.judged.verdict.name(), row.seen.elapsed, gap(&row.seen));
        println!("{id:<5} {title:<42} {verdict:<8} {time:>6.1}s {attempts:>9} {gap:>6}  {}", notes(row));
    }
    println!(
        "\nNp/Mf: attempts on the primary and the fallback model. + : the provider continues a prefill; not counted."
    );
    println!("\n{:<34} {:>5} {:>8} {:>5} {:>5}", "", "pass", "partial", "safe", "fail");
    print_totals("this gateway, its defaults", totals(rows));
    println!("published 2026-09-12:");
    for (name, counts) in PUBLISHED {
        print_totals(name, counts);
    }
}

fn print_totals(name: &str, [pass, partial, safe, fail]: [usize; 4]) {
    println!("  {name:<32} {pass:>5} {partial:>8} {safe:>5} {fail:>5}");
}

/// How many of the sixteen got each verdict.
fn totals(rows: &[Row]) -> [usize; 4] {
    SCALE.map(|verdict| rows.iter().filter(|row| !row.prefill && row.judged.verdict == verdict).count())
}

fn gap(seen: &Seen) -> String {
    match seen.primary[..] {
        [first, second, ..] => format!("{:.1}s", second - first),
        _ => String::new(),
    }
}

/// What did not hold, why, and the figures of an outage.
fn notes(row: &Row) -> String {
    let mut notes = row.judged.failed.clone();
    notes.extend(row.seen.error.clone());
    if let Some(outage) = &row.seen.outage {
        let back = outage.recovered_after.map_or("never".to_owned(), |after| format!("+{after:.1}s"));
        notes.push(format!(
            "{}/{} served in the outage, {} primary attempts, back {back}",
            outage.served, outage.sent, outage.primary_attempts
        ));
    }
    notes.join("; ")
}

/// Everything, for the results file.
pub fn to_json(rows: &[Row]) -> Value {
    let counts = |counts: [usize; 4]| -> Value {
        SCALE.iter().zip(counts).map(|(verdict, count)| (verdict.name().to_owned(), json!(count))).collect()
    };
    let published: Value =
        PUBLISHED.iter().map(|(name, totals)| ((*name).to_owned(), counts(*totals))).collect();
    json!({
        "totals": counts(totals(rows)),
        "published 2026-09-12": published,
        "scenarios": rows.iter().map(row_to_json).collect::<Vec<_>>(),
    })
}

fn row_to_json(row: &Row) -> Value {
    let seen = &row.seen;
    json!({
        "id": row.scenario.id, "title": row.scenario.title, "prefill": row.prefill,
        "verdict": row.judged.verdict.name(), "failed_checks": row.judged.failed, "error": seen.error,
        "elapsed_s": seen.elapsed, "first_token_s": seen.first_token,
        "primary_attempts_s": seen.primary, "fallback_attempts_s": seen.fallback,
        "model": seen.model, "usage": seen.usage, "prefill_refused": seen.prefill_refused,
        "alive_after": seen.alive_after,
        "outage": seen.outage.as_ref().map(|o| json!({
            "sent": o.sent, "served": o.served, "hung": o.hung,
            "primary_attempts": o.primary_attempts, "recovered_after_s": o.recovered_after,
        })),
    })
}
