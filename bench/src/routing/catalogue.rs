//! The traces: what providers do on their bad days, each drawn anew from a seed.
//!
//! A seed gives the number of targets (two to eight), the rate, how fast each target is, and who is struck when and how
//! badly. It must never be tuned to make a policy look good: a new kind of trouble is added, not taken away.

use super::trace::{Episode, Limit, Script, Trace, Trouble};

/// Requests per second, from a quiet team to a busy product.
const RATES: [f64; 4] = [1.0, 5.0, 20.0, 60.0];
/// Most first-token medians lie between them, seconds.
const MEDIANS: (f64, f64) = (0.2, 0.8);
/// At least so many seconds, and so many requests.
const SECONDS: f64 = 240.0;
const REQUESTS: f64 = 600.0;

/// Puts trouble into the pool that a seed has drawn.
type Story = fn(&mut Draft);

/// All kinds of traces.
const KINDS: [(&str, Story); 20] = [
    ("calm, equals", |draft| draft.level()),
    ("calm, one faster", |draft| draft.targets[0].median = 0.3 * draft.fastest()),
    ("refuses", |draft| draft.strike(1, Trouble::Refuses)),
    ("hangs", |draft| draft.strike(1, Trouble::Hangs)),
    ("half of them hang", |draft| draft.strike(draft.half(), Trouble::Hangs)),
    ("10 x slower", |draft| draft.strike(1, Trouble::Slower(10.0))),
    ("half are 4 x slower", |draft| draft.strike(draft.half(), Trouble::Slower(4.0))),
    ("500s, 25 %", |draft| draft.strike(1, Trouble::Fails(0.25))),
    ("500s, 35 %", |draft| draft.strike(1, Trouble::Fails(0.35))),
    ("500s, 50 %", |draft| draft.strike(1, Trouble::Fails(0.5))),
    ("flaps 3 s / 3 s", |draft| draft.flap(3.0, 3.0)),
    ("flaps 1 s / 9 s", |draft| draft.flap(1.0, 9.0)),
    ("flaps at random", Draft::flap_at_random),
    ("429 storms", Draft::throttle),
    ("rate limits, stated", |draft| draft.limit(true)),
    ("rate limits, unstated", |draft| draft.limit(false)),
    ("slow drift", |draft| draft.strike(1, Trouble::Drifts(6.0))),
    ("bursts", Draft::burst),
    ("streams break", |draft| draft.strike(1, Trouble::Cuts(0.3))),
    ("one after the other", Draft::roll),
];

/// How many kinds of traces there are.
pub const fn kinds() -> usize {
    KINDS.len()
}

/// The trace of the kind at `kind` with this seed.
pub fn trace(kind: usize, seed: u64) -> Trace {
    let (name, story) = KINDS[kind];
    let mut draft = Draft::new(fastrand::Rng::with_seed(seed * 1000 + kind as u64));
    story(&mut draft);
    draft.finish(name, seed)
}

/// A trace in the making.
struct Draft {
    rng: fastrand::Rng,
    rate: f64,
    seconds: f64,
    targets: Vec<Script>,
    /// Times in which requests come five times as often.
    bursts: Vec<(f64, f64)>,
}

impl Draft {
    fn new(mut rng: fastrand::Rng) -> Self {
        let rate = RATES[rng.usize(..RATES.len())];
        let seconds = SECONDS.max(REQUESTS / rate);
        let count = rng.usize(2..=8);
        let targets =
            (0..count).map(|_| Script::with_median(between(&mut rng, MEDIANS.0, MEDIANS.1))).collect();
        Self { rng, rate, seconds, targets, bursts: Vec::new() }
    }

    fn half(&self) -> usize {
        self.targets.len() / 2
    }

    fn fastest(&self) -> f64 {
        self.targets.iter().map(|target| target.median).fold(f64::INFINITY, f64::min)
    }

    /// All targets are equally fast.
    fn level(&mut self) {
        let median = self.targets[0].median;
        self.targets.iter_mut().for_each(|target| target.median = median);
    }

    /// So many targets, the fastest first, have `trouble` for a quarter to a half of the time.
    fn strike(&mut self, count: usize, trouble: Trouble) {
        let from = self.seconds * between(&mut self.rng, 0.2, 0.35);
        let to = from + self.seconds * between(&mut self.rng, 0.25, 0.5);
        for target in self.by_speed().into_iter().take(count) {
            self.targets[target].episodes.push(Episode { from, to, trouble });
        }
    }

    fn by_speed(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.targets.len()).collect();
        order.sort_by(|a, b| self.targets[*a].median.total_cmp(&self.targets[*b].median));
        order
    }

    /// What a target that is down does, drawn once for each target.
    fn any_outage(&mut self) -> Trouble {
        [Trouble::Refuses, Trouble::Hangs, Trouble::Fails(1.0)][self.rng.usize(..3)]
    }

    /// The fastest target is down for `down` and up for `up` seconds in turn.
    fn flap(&mut self, down: f64, up: f64) {
        let (trouble, target) = (self.any_outage(), self.by_speed()[0]);
        let mut from = self.seconds * 0.2;
        while from < self.seconds * 0.8 {
            self.targets[target].episodes.push(Episode { from, to: from + down, trouble });
            from += down + up;
        }
    }

    /// Half of the targets go down now and then, for half a second to twenty.
    fn flap_at_random(&mut self) {
        for target in 0..self.half() {
            let mut from = 10.0;
            while from < self.seconds {
                let to = from + between(&mut self.rng, 0.5, 20.0);
                let trouble = self.any_outage();
                self.targets[target].episodes.push(Episode { from, to, trouble });
                from = to + between(&mut self.rng, 1.0, 40.0);
            }
        }
    }

    /// Half of the targets refuse with 429 for 5 to 30 s, again and again.
    fn throttle(&mut self) {
        for target in 0..self.half() {
            let mut from = between(&mut self.rng, 5.0, 30.0);
            while from < self.seconds {
                let to = from + between(&mut self.rng, 5.0, 30.0);
                self.targets[target].episodes.push(Episode { from, to, trouble: Trouble::Throttles });
                from = to + between(&mut self.rng, 5.0, 40.0);
            }
        }
    }

    /// All but the slowest target may be asked only half as often as there are requests.
    fn limit(&mut self, stated: bool) {
        let window = [10.0, 60.0][self.rng.usize(..2)];
        let requests = (self.rate * window * 0.5).max(1.0) as u32;
        let order = self.by_speed();
        for target in &order[..order.len() - 1] {
            self.targets[*target].limit = Some(Limit { requests, window, stated });
        }
    }

    /// Requests come five times as often for 15 s, again and again, and every target slows down under load.
    fn burst(&mut self) {
        let mut from = 20.0;
        while from < self.seconds {
            self.bursts.push((from, from + 15.0));
            from += between(&mut self.rng, 30.0, 60.0);
        }
        // Shared equally, the usual load makes all of them a tenth slower, and a burst twice as slow.
        let share = self.rate / self.targets.len() as f64;
        self.targets
            .iter_mut()
            .for_each(|target| target.capacity = Some((10.0 * share * target.median).max(1.0)));
    }

    /// Each target in turn is down or slow for a while; two never are at the same time.
    fn roll(&mut self) {
        let turn = self.seconds * 0.8 / self.targets.len() as f64;
        for target in 0..self.targets.len() {
            let from = self.seconds * 0.15 + turn * target as f64;
            let trouble = if self.rng.bool() { self.any_outage() } else { Trouble::Slower(8.0) };
            self.targets[target].episodes.push(Episode { from, to: from + turn * 0.7, trouble });
        }
    }

    fn finish(mut self, name: &'static str, seed: u64) -> Trace {
        let mut arrivals = Vec::new();
        let mut at = 0.0;
        while at < self.seconds {
            let burst = self.bursts.iter().any(|(from, to)| (*from..*to).contains(&at));
            let rate = if burst { 5.0 * self.rate } else { self.rate };
            // Independent callers: exponential pauses.
            at += -self.rng.f64().max(f64::MIN_POSITIVE).ln() / rate;
            arrivals.push(at);
        }
        Trace { name, seed, seconds: self.seconds, arrivals, targets: self.targets }
    }
}

fn between(rng: &mut fastrand::Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.f64()
}
