//! What does not get dearer when there is more of it: streams, targets, users, cores.
//!
//! Everything is compared in one run with the same gateway and less of it. It must never compare with figures of an
//! earlier run.

use serde_json::json;

use crate::{
    overhead::{Ground, OURS, Ready, Running, median},
    setup,
    storm::{self, figures::Figure},
    traffic::{Measured, Pace, Plan, Shape, wire},
};

/// Streams that are open together.
const STREAMS: usize = 10_000;
/// The large configuration, and the small one.
const LARGE: Size = Size { models: 100, users: 100_000 };
const SMALL: Size = Size { models: 1, users: 10 };
/// Targets of each model.
const TARGETS: usize = 2;
/// Pairs of stretches.
const ROUNDS: usize = 10;
/// Connections at saturation.
const SATURATED: usize = 64;

/// How much there is in a configuration.
#[derive(Clone, Copy)]
struct Size {
    models: usize,
    users: usize,
}

/// Measures everything, prints the table and saves the figures. True if every limit is kept.
pub async fn run() -> Result<bool, String> {
    let load = setup::load_average();
    let ground = Ground::start().await?;
    let mut figures = streams(&ground).await?;
    figures.extend(configurations(&ground).await?);
    figures.extend(cores(&ground).await?);
    storm::print(&figures);
    let all: Vec<_> = figures.iter().map(Figure::to_json).collect();
    setup::save("scale", json!({ "load_average_before": load, "limits": all }));
    Ok(figures.iter().all(Figure::holds))
}

async fn streams(ground: &Ground) -> Result<Vec<Figure>, String> {
    let count = if setup::fast() { STREAMS / 10 } else { STREAMS.min(room_for_streams()) };
    let running = Ready::prepare(OURS, ground.port).await?.start().await?;
    let measured = ground.load(&running.plan(Shape::Slow, Pace::Hold, count), false).await?;
    running.stop().await;
    if let Some(why) = &measured.first_error {
        println!("The first error of {count} streams: {why}");
    }
    let grown = measured.pss_held.saturating_sub(measured.pss_before) as f64 / 1024.0 / count as f64;
    println!(
        "{count} streams: {:.1} us of CPU per chunk, transit {:?} us",
        measured.cpu_per_chunk(),
        measured.transit_us
    );
    Ok(vec![
        Figure::at_most(format!("{count} slow streams at once: errors"), 0.0, measured.errors as f64),
        Figure::at_most("… memory of each, KiB", 18.0, grown),
        Figure::at_least("… whole ones", count as f64, measured.answers as f64),
    ])
}

/// How many streams this machine lets one process have: each takes two files of the gateway.
fn room_for_streams() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    files.map_or(STREAMS, |files: usize| files.saturating_sub(500) / 2)
}

async fn configurations(ground: &Ground) -> Result<Vec<Figure>, String> {
    let small = SMALL.start(ground).await?;
    let large = LARGE.start(ground).await?;
    println!("start: {:.0} ms small, {:.0} ms large", small.start_ms, large.start_ms);
    let small_load = saturated(&small, SMALL.users);
    let large_load = saturated(&large, LARGE.users);
    // Everybody once, so that each user's state is there.
    let everybody = Plan { measure_ms: if setup::fast() { 1_000 } else { 12_000 }, ..large_load.clone() };
    good(ground.load(&everybody, false).await?)?;
    let cost = ratio(ground, &small_load, &large_load).await?;
    let memory = large.memory_mb() - small.memory_mb();
    small.stop().await;
    large.stop().await;
    Ok(vec![
        Figure::at_most(
            "CPU per request, 200 targets and 100,000 users, x 2 targets and 10 users",
            1.15,
            cost,
        ),
        Figure::at_most("… memory of one user more, bytes", 2_048.0, memory * 1e6 / LARGE.users as f64),
    ])
}

/// Two threads on two CPUs; the load has to share one of them, so that only CPU time is compared.
async fn cores(ground: &Ground) -> Result<Vec<Figure>, String> {
    let one = Ready::prepare(OURS, ground.port).await?.start().await?;
    let two = Ready::prepare(OURS, ground.port).await?.on("0,1").start().await?;
    let cost = ratio(ground, &saturated(&one, 0), &saturated(&two, 0)).await?;
    one.stop().await;
    two.stop().await;
    Ok(vec![Figure::at_most("CPU per request on two cores, x one", 1.25, cost)])
}

/// The median of what a request of `b` costs, in requests of `a`.
async fn ratio(ground: &Ground, a: &Plan, b: &Plan) -> Result<f64, String> {
    let rounds = if setup::fast() { 2 } else { ROUNDS };
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let (first, second) = (good(ground.load(a, false).await?)?, good(ground.load(b, false).await?)?);
        ratios.push(second.cpu_per_answer() / first.cpu_per_answer());
    }
    Ok(median(ratios))
}

fn saturated(of: &Running, users: usize) -> Plan {
    let plan = of.plan(Shape::Plain, Pace::Closed, SATURATED);
    Plan { users, warm_up_ms: 250, measure_ms: if setup::fast() { 400 } else { 1_200 }, ..plan }
}

fn good(measured: Measured) -> Result<Measured, String> {
    match &measured.first_error {
        Some(why) => Err(format!("{} errors, the first: {why}", measured.errors)),
        None => Ok(measured),
    }
}

impl Size {
    async fn start(self, ground: &Ground) -> Result<Running, String> {
        Ready::prepare(OURS, ground.port).await?.configured(|text| self.grow(text))?.start().await
    }

    /// The configuration with as many users, and as many models of two targets, the one that is asked among them.
    fn grow(self, mut text: String) -> String {
        for user in 0..self.users {
            text += &format!("[[auth.keys]]\nuser = \"user-{user}\"\nkey = \"{}\"\n", wire::key(user));
        }
        // The second target answers as well as the first: the provider goes by the last part of a name.
        text = text.replace("targets = [\"a/plain\"]", "targets = [\"a/plain\", \"a/other/plain\"]");
        for model in 1..self.models {
            let targets: Vec<String> = (0..TARGETS).map(|n| format!("\"a/{model}-{n}\"")).collect();
            text += &format!("[[models]]\nname = \"model-{model}\"\ntargets = [{}]\n", targets.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_configuration_has_what_it_says() {
        let grown = LARGE.grow("[[models]]\nname = \"plain\"\ntargets = [\"a/plain\"]\n".to_owned());
        assert_eq!(grown.matches("[[auth.keys]]").count(), LARGE.users);
        assert_eq!(grown.matches("\"a/").count(), LARGE.models * TARGETS);
    }
}
