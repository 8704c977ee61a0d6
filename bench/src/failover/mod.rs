//! The public Failover Bench, run against this gateway with its defaults: sixteen faults, one call each.
//!
//! Every scenario has a gateway process and a provider of its own, because what a gateway learns stays in its
//! process; so they can run side by side, and the time of the whole is that of the longest. It must never give the
//! gateway a hint: one provider, one target per model, its fallback, and nothing else in the configuration.

pub mod catalogue;
mod report;
pub mod verdict;
mod wall;

use std::time::Duration;

use concierge_testkit::{Client, ConfigFile, openai::SIXTY};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep_until};

use self::{
    catalogue::{SCENARIOS, Scenario},
    verdict::{Ended, Judged, Outage, Seen, Verdict, judge},
    wall::{Timing, Wall},
};
use crate::{
    caller::{Called, call},
    setup,
};

/// How long the healthy call afterwards may take.
const ALIVE_LIMIT: Duration = Duration::from_secs(10);

/// One scenario's result.
struct Row {
    scenario: Scenario,
    /// Run with `prefill = "assistant"` at the provider: printed, saved, and not one of the sixteen.
    prefill: bool,
    seen: Seen,
    judged: Judged,
}

/// Runs everything, prints the tables and saves the figures. True if every row passes.
pub async fn run() -> bool {
    let timing = if setup::fast() { Timing::FAST } else { Timing::FULL };
    let cuts = SCENARIOS.iter().filter(|s| matches!(s.id, "S08" | "S14"));
    let plan = SCENARIOS.iter().map(|s| (*s, false)).chain(cuts.map(|s| (*s, true)));
    let mut tasks = JoinSet::new();
    for (scenario, prefill) in plan {
        tasks.spawn(run_one(scenario, prefill, timing));
    }
    let mut rows = tasks.join_all().await;
    rows.sort_by_key(|row| (row.prefill, row.scenario.id));
    report::print(&rows);
    setup::save("failover", report::to_json(&rows));
    rows.iter().all(|row| row.judged.verdict == Verdict::Pass)
}

async fn run_one(scenario: Scenario, prefill: bool, timing: Timing) -> Row {
    let wall = Wall::start(timing).await;
    let gateway = setup::launch().start(config(&scenario, prefill, &wall).toml()).await;
    let seen = observe(&gateway.client(), &scenario, timing, &wall).await;
    let judged = judge(&scenario, &seen);
    Row { scenario, prefill, seen, judged }
}

/// Calls as the scenario says, then asks for the healthy model.
async fn observe(client: &Client, scenario: &Scenario, timing: Timing, wall: &Wall) -> Seen {
    let mut seen = if scenario.sequence {
        sequence(client, scenario, timing, wall).await
    } else {
        single(client, scenario, wall).await
    };
    let healthy = call(client.clone(), ask("fb-ok", false), ALIVE_LIMIT).await;
    seen.alive_after = healthy.looks_complete() && is_whole(&healthy);
    seen
}

/// All of the configuration that the gateway gets.
fn config(scenario: &Scenario, prefill: bool, wall: &Wall) -> ConfigFile {
    let more = if prefill { "prefill = \"assistant\"" } else { "" };
    let fallbacks = format!("fallbacks = [{:?}]", scenario.fallback);
    let target = |model: &str| format!("wall/{model}");
    let file = ConfigFile::new()
        .provider_at("wall", &wall.base_url(), more)
        .model_with(scenario.model, &[&target(scenario.model)], &fallbacks)
        .model("fb-ok", &["wall/fb-ok"]);
    if scenario.fallback == "fb-ok" {
        file
    } else {
        file.model(scenario.fallback, &[&target(scenario.fallback)])
    }
}

fn ask(model: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "Count to sixty in words, as you like."}]);
    if stream {
        json!({"model": model, "messages": messages, "stream": true, "stream_options": {"include_usage": true}})
    } else {
        json!({"model": model, "messages": messages})
    }
}

/// Exactly the canonical answer, but for white space.
fn is_whole(called: &Called) -> bool {
    called.text.split_whitespace().eq(SIXTY.split_whitespace())
}

fn ended(called: &Called) -> Ended {
    match &called.end {
        _ if called.hung => Ended::Hang,
        Ok(()) => Ended::Success,
        Err(_) => Ended::Error,
    }
}

async fn single(client: &Client, scenario: &Scenario, wall: &Wall) -> Seen {
    wall.begin();
    let limit = Duration::from_secs_f64(scenario.max_wall);
    let called = call(client.clone(), ask(scenario.model, true), limit).await;
    seen(scenario, wall, &called)
}

/// What the last call and the provider show.
fn seen(scenario: &Scenario, wall: &Wall, called: &Called) -> Seen {
    Seen {
        ended: ended(called),
        complete: is_whole(called),
        error: called.end.clone().err(),
        elapsed: called.elapsed.as_secs_f64(),
        first_token: called.first_token.map(|first| first.as_secs_f64()),
        model: called.model.clone(),
        usage: called.usage,
        primary: wall.attempts(scenario.model),
        fallback: wall.attempts(scenario.fallback),
        prefill_refused: wall.prefill_refused(),
        alive_after: false,
        outage: None,
    }
}

/// Paced requests across the outage. One after another, as published: a slow one delays the next.
async fn sequence(client: &Client, scenario: &Scenario, timing: Timing, wall: &Wall) -> Seen {
    let start = wall.begin();
    let limit = Duration::from_secs_f64(scenario.max_wall);
    let mut calls = Vec::new();
    for number in 0..timing.requests as u32 {
        sleep_until(start + timing.interval * number).await;
        let sent = start.elapsed();
        calls.push((sent, call(client.clone(), ask(scenario.model, true), limit).await));
    }
    let Some((_, last)) = calls.last() else { unreachable!("a profile has requests") };
    let mut whole = seen(scenario, wall, last);
    whole.elapsed = start.elapsed().as_secs_f64();
    whole.complete = calls.iter().all(|(_, called)| is_whole(called));
    let worst = calls.iter().map(|(_, called)| ended(called)).max_by_key(|end| *end as u8);
    whole.ended = worst.unwrap_or(Ended::Hang);
    whole.error = calls.iter().find_map(|(_, called)| called.end.clone().err());
    whole.outage = Some(outage(&calls, &whole.primary, timing));
    whole
}

fn outage(calls: &[(Duration, Called)], primary: &[f64], timing: Timing) -> Outage {
    let during: Vec<&Called> =
        calls.iter().filter(|(sent, _)| *sent < timing.outage).map(|(_, c)| c).collect();
    let down = timing.outage.as_secs_f64();
    Outage {
        hung: calls.iter().filter(|(_, called)| called.hung).count(),
        sent: during.len(),
        served: during.iter().filter(|called| called.looks_complete()).count(),
        primary_attempts: primary.iter().filter(|&&at| at < down).count(),
        recovered_after: primary.iter().copied().find(|&at| at >= down).map(|at| at - down),
    }
}

#[cfg(test)]
mod tests;
