//! One fault under load: warm up, break one provider (or both), perhaps heal it, and measure every stretch.
//!
//! The limits stand here, beside the fault they belong to. It must never reuse a gateway: each fault meets a new one.

use std::time::Duration;

use concierge_testkit::ConfigFile;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    figures::{Callers, Ended, Figure, Sample, Window, percent, round},
    load::{self, RATE},
    mock::{Fault, Mock, RETRY_AFTER},
};
use crate::setup;

/// Seconds of each stretch.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    healthy: f64,
    broken: f64,
    healed: f64,
}

/// One experiment.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// Its name in tables and results.
    pub name: &'static str,
    fault: Fault,
    both: bool,
    full: Timeline,
    short: Timeline,
}

const FOR_A_MINUTE: Timeline = Timeline { healthy: 10.0, broken: 50.0, healed: 0.0 };
const BRIEFLY: Timeline = Timeline { healthy: 4.0, broken: 10.0, healed: 0.0 };
const AND_HEALED: Timeline = Timeline { healthy: 10.0, broken: 20.0, healed: 60.0 };
const AND_HEALED_BRIEFLY: Timeline = Timeline { healthy: 4.0, broken: 12.0, healed: 20.0 };

const fn storm(name: &'static str, fault: Fault) -> Storm {
    Storm { name, fault, both: false, full: FOR_A_MINUTE, short: BRIEFLY }
}

const fn and_healed(storm: Storm) -> Storm {
    Storm { full: AND_HEALED, short: AND_HEALED_BRIEFLY, ..storm }
}

/// All of them.
pub const STORMS: [Storm; 8] = [
    storm("one refuses connections", Fault::Refuse),
    storm("one hangs", Fault::Hang),
    storm("one answers 500", Fault::Fail),
    storm("one answers 500 half the time", Fault::FailHalf),
    and_healed(storm("one is 10x slower, then heals", Fault::Slow)),
    storm("one cuts its answers", Fault::Cut),
    storm("one answers 429, retry-after 7", Fault::Limit),
    Storm { both: true, ..and_healed(storm("both answer 500, then heal", Fault::Fail)) },
];

/// What one experiment showed.
pub struct Weathered {
    storm: Storm,
    times: Timeline,
    samples: Vec<Sample>,
    /// Calls that the broken provider, and the other one, saw.
    bad: Vec<Duration>,
    good: Vec<Duration>,
}

/// Runs one experiment against a gateway with its defaults.
pub async fn run(storm: Storm) -> Weathered {
    let times = if setup::fast() { storm.short } else { storm.full };
    let (good, bad) = (Mock::start(1).await, Mock::start(2).await);
    let config = ConfigFile::new()
        .provider("good", good.provider())
        .provider("bad", bad.provider())
        .model("m", &["good/m", "bad/m"]);
    let gateway = setup::launch().start(config.toml()).await;
    let origin = Instant::now();
    let at = |seconds: f64| Duration::from_secs_f64(seconds);
    let total = times.healthy + times.broken + times.healed;
    let weather = async {
        sleep_until(origin + at(times.healthy)).await;
        set(&good, &bad, storm, storm.fault).await;
        sleep_until(origin + at(times.healthy + times.broken)).await;
        if times.healed > 0.0 {
            set(&good, &bad, storm, Fault::Healthy).await;
        }
    };
    let (samples, ()) = tokio::join!(load::run(gateway.url(), origin, at(total)), weather);
    let (bad, good) = (bad.calls_since(origin), good.calls_since(origin));
    Weathered { storm, times, samples, bad, good }
}

async fn set(good: &Mock, bad: &Mock, storm: Storm, fault: Fault) {
    bad.turn(fault).await;
    if storm.both {
        good.turn(fault).await;
    }
}

impl Weathered {
    fn from(&self, since: f64, until: f64) -> Window {
        Window::seconds(self.times.healthy + since, self.times.healthy + until)
    }

    /// From the first moment of the fault to its last.
    fn broken(&self) -> Window {
        self.from(0.0, self.times.broken)
    }

    /// The share of requests that the broken provider was asked to serve, in percent.
    fn share(&self, window: Window) -> f64 {
        let due = self.samples.iter().filter(|sample| window.holds(sample.due));
        let asked = if self.storm.fault == Fault::Refuse {
            // A refused connection is seen by the gateway only: every attempt but the last.
            due.clone().map(|sample| sample.attempts.saturating_sub(1)).sum()
        } else {
            self.bad.iter().filter(|at| window.holds(**at)).count()
        };
        percent(asked, due.count())
    }

    /// Upstream calls per request.
    fn amplification(&self, window: Window) -> f64 {
        let requests = self.samples.iter().filter(|sample| window.holds(sample.due)).count();
        let calls = self.bad.iter().chain(&self.good).filter(|at| window.holds(**at)).count();
        calls as f64 / requests.max(1) as f64
    }

    /// Seconds from healing to the last error.
    fn last_error_after_healing(&self) -> f64 {
        let healed = self.times.healthy + self.times.broken;
        let failed = self.samples.iter().filter(|sample| sample.ended != Ended::Whole);
        failed.map(|sample| sample.due.as_secs_f64() - healed).fold(0.0, f64::max)
    }

    /// Requests to the limited provider while its `retry-after` ran.
    fn asked_while_resting(&self) -> usize {
        let during = self.broken();
        let Some(first) = self.bad.iter().find(|at| during.holds(**at)) else { return 0 };
        let rest = Window {
            from: *first + Duration::from_millis(100),
            to: *first + Duration::from_secs(RETRY_AFTER).min(Duration::from_secs_f64(self.times.broken)),
        };
        self.bad.iter().filter(|at| rest.holds(**at)).count()
    }

    /// What must hold, and what was measured.
    pub fn figures(&self) -> Vec<Figure> {
        let name = |what: &str| format!("{}: {what}", self.storm.name);
        let all = Window::seconds(0.0, f64::from(u32::MAX));
        let broken = Callers::of(&self.samples, self.broken());
        let whole = Callers::of(&self.samples, all);
        let mut figures =
            vec![Figure::at_most(name("cut answers shown as whole"), 0.0, whole.cut_shown_as_whole as f64)];
        if self.storm.both {
            figures.push(Figure::at_most(name("attempts/requests"), 1.2, self.amplification(self.broken())));
            figures.push(Figure::at_most(name("p99 of errors, ms"), 1000.0, broken.error_p99_ms));
            let recovered = self.last_error_after_healing();
            figures.push(Figure::at_most(name("last error after healing, s"), 22.0, recovered));
            return figures;
        }
        figures.push(Figure::at_most(name("caller errors, %"), 0.1, whole.error_percent()));
        figures.extend(self.of_this_fault(&name, &broken));
        figures
    }

    /// Limits that only one kind of fault has.
    fn of_this_fault(&self, name: &dyn Fn(&str) -> String, broken: &Callers) -> Vec<Figure> {
        let settled = self.share(self.from(1.0, self.times.broken));
        let healthy = Callers::of(&self.samples, self.from(1.0 - self.times.healthy, 0.0)).first_token_ms;
        match self.storm.fault {
            Fault::Refuse => vec![
                Figure::at_most(name("share after its first second, %"), 5.0, settled),
                Figure::at_most(name("p99 first token, ms"), healthy[2] + 30.0, broken.first_token_ms[2]),
            ],
            Fault::Hang | Fault::Fail => {
                vec![Figure::at_most(name("share after its first second, %"), 5.0, settled)]
            }
            Fault::FailHalf => {
                let broken = self.amplification(self.broken());
                vec![Figure::at_most(name("attempts/requests"), 1.25, broken)]
            }
            Fault::Slow => self.of_slowness(name, healthy),
            Fault::Limit => {
                let asked = self.asked_while_resting() as f64;
                vec![Figure::at_most(name("asked in its rest"), 0.0, asked)]
            }
            Fault::Cut | Fault::Healthy => Vec::new(),
        }
    }

    fn of_slowness(&self, name: &dyn Fn(&str) -> String, healthy: [f64; 3]) -> Vec<Figure> {
        let late = Callers::of(&self.samples, self.from(10.0, self.times.broken)).first_token_ms;
        vec![
            Figure::at_most(
                name("share after 10 s, %"),
                10.0,
                self.share(self.from(10.0, self.times.broken)),
            ),
            Figure::at_most(name("p95 first token after 10 s, ms"), healthy[1] * 1.5, late[1]),
            Figure::at_least(name("share at the end of healing, %"), 40.0, self.share(self.end())),
        ]
    }

    /// The last tenth of the healing, up to its end.
    fn end(&self) -> Window {
        let (end, healed) = (self.times.broken + self.times.healed, self.times.healed);
        self.from(end - healed / 10.0, end)
    }

    /// For the table: one line.
    pub fn line(&self) -> String {
        let all = Callers::of(&self.samples, Window::seconds(0.0, f64::from(u32::MAX)));
        let broken = Callers::of(&self.samples, self.broken());
        let [p50, _, p99] = broken.first_token_ms;
        let share = if self.storm.both { f64::NAN } else { self.share(self.from(1.0, self.times.broken)) };
        let kinds: Vec<String> = all.errors.iter().map(|(kind, count)| format!("{count}x {kind}")).collect();
        format!(
            "{:<32} {:>7} {:>7} {:>7.0} {:>7.0} {:>9.3} {:>7.1}%  {}",
            self.storm.name,
            all.requests,
            all.error_count(),
            p50,
            p99,
            self.amplification(self.broken()),
            share,
            kinds.join(", ")
        )
    }

    /// For the results file.
    pub fn to_json(&self) -> Value {
        let Timeline { healthy, broken, healed } = self.times;
        let end = broken + healed;
        json!({
            "name": self.storm.name, "rate": RATE, "seconds": {"healthy": healthy, "broken": broken, "healed": healed},
            "healthy": Callers::of(&self.samples, self.from(1.0 - healthy, 0.0)).to_json(),
            "broken": Callers::of(&self.samples, self.broken()).to_json(),
            "healed": Callers::of(&self.samples, self.from(broken, end)).to_json(),
            "attempts_per_request": round(self.amplification(self.broken())),
            "share_percent_per_second": (0..(healthy + end) as u32).map(|second| {
                let from = f64::from(second);
                round(self.share(Window::seconds(from, from + 1.0)))
            }).collect::<Vec<_>>(),
            "share_percent_after_first_second": round(self.share(self.from(1.0, broken))),
        })
    }
}
