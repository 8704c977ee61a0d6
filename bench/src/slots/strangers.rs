//! Millions of strangers, each with a key of its own that is none: what does the gateway keep of them, and what does
//! its refusal tell them?
//!
//! It must never send the same key twice: a cache of what was refused would look harmless.

use std::io;

use concierge_testkit::{ConfigFile, FakeProvider, Gateway};
use fastrand::Rng;
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, interval},
};

use crate::{setup::scaled, storm::figures::Figure, wire::Line};

const KEYS: u64 = 5_000_000;
/// Before memory is looked at: connections, buffers, threads.
const WARM_UP: u64 = 100_000;
const LINES: u64 = 8;
/// Requests in one pipeline.
const BATCH: u64 = 100;
/// Requests whose time is taken.
const TIMED: usize = 20_000;
/// The one key there is.
const KEY: &str = "sk-the-key-of-alice-0123456789abcdef";
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);
const MIB: f64 = (1 << 20) as f64;

/// All of it.
pub async fn run() -> Vec<Figure> {
    let provider = FakeProvider::start().await;
    let gateway = super::start(&provider, &[], |config: ConfigFile| config.key("alice", KEY, "")).await;
    let keys = scaled(KEYS);
    let begun = Instant::now();
    let (warm, _) = knock(&gateway, 0, WARM_UP).await;
    let before = gateway.rss() as f64;
    let (refused, most) = knock(&gateway, WARM_UP, keys).await;
    println!("Strangers: {} refused in {:.0} s.", warm + refused, begun.elapsed().as_secs_f64());
    let r = timing(&gateway).await.map_or(f64::NAN, |samples| correlation(&samples).abs());
    vec![
        Figure::at_least("distinct invalid keys refused", (WARM_UP + keys) as f64, (warm + refused) as f64),
        Figure::at_most("… memory grown by, MiB", 16.0, (most - before) / MIB),
        Figure::at_most("wrong keys: time against length of the right beginning, |r|", 0.05, r),
    ]
}

/// `count` strangers; how many were refused, and the most memory the gateway had meanwhile.
async fn knock(gateway: &Gateway, first: u64, count: u64) -> (u64, f64) {
    let each = count / LINES;
    let mut lines: JoinSet<_> =
        (0..LINES).map(|n| line(gateway.addr().to_owned(), first + n * each, each)).collect();
    let (mut refused, mut most) = (0, gateway.rss() as f64);
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            done = lines.join_next() => match done {
                Some(done) => refused += done.ok().and_then(io::Result::ok).unwrap_or_default(),
                None => return (refused, most),
            },
            _ = look.tick() => {}
        }
        most = most.max(gateway.rss() as f64);
    }
}

/// Strangers on one connection. Each answer is read to its end, for there are two kinds of them: wrong, and too many.
async fn line(addr: String, first: u64, count: u64) -> io::Result<u64> {
    let mut line = Line::open(&addr).await?;
    let mut refused = 0;
    for batch in (first..first + count).step_by(BATCH as usize) {
        let keys = batch..(batch + BATCH).min(first + count);
        let requests: Vec<u8> =
            keys.clone().flat_map(|n| stranger(&format!("sk-stranger-{n:020}"))).collect();
        line.send(&requests).await?;
        for _ in keys {
            refused += u64::from(matches!(line.answer().await?.status, 401 | 429));
        }
    }
    Ok(refused)
}

fn stranger(key: &str) -> Vec<u8> {
    let head = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-request-id: one-of-many";
    format!("{head}\r\nauthorization: Bearer {key}\r\n\r\n").into_bytes()
}

/// Keys that begin like the right one, by chance more or less: how much of it was right, and the microseconds.
async fn timing(gateway: &Gateway) -> io::Result<Vec<(f64, f64)>> {
    let mut rng = Rng::with_seed(11);
    let mut line = Line::open(gateway.addr()).await?;
    let mut samples = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let right = rng.usize(0..KEY.len());
        let wrong: String = (right..KEY.len()).map(|_| rng.uppercase()).collect();
        let request = stranger(&format!("{}{wrong}", &KEY[..right]));
        let asked = Instant::now();
        line.ask(&request).await?;
        samples.push((right as f64, asked.elapsed().as_secs_f64() * 1e6));
    }
    Ok(samples)
}

/// Pearson's r, without the slowest hundredth: those the machine has kept waiting.
fn correlation(samples: &[(f64, f64)]) -> f64 {
    let mut kept = samples.to_vec();
    kept.sort_by(|a, b| a.1.total_cmp(&b.1));
    kept.truncate(samples.len() * 99 / 100);
    let n = kept.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| kept.iter().map(of).sum::<f64>() / n;
    let (mx, my) = (mean(|s| s.0), mean(|s| s.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| kept.iter().map(|(x, y)| of(x - mx, y - my)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_that_stops_early_would_show() {
        let mut rng = Rng::with_seed(1);
        let mut noise = || 100.0 + 20.0 * rng.f64();
        let innocent: Vec<_> = (0..20_000).map(|n| (f64::from(n % 36), noise())).collect();
        let telling: Vec<_> = innocent.iter().map(|(right, us)| (*right, us + right * 0.1)).collect();
        assert!(correlation(&innocent).abs() < 0.05);
        assert!(correlation(&telling) > 0.05);
    }
}
