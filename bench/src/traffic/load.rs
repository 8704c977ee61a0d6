//! The load generator: carries out one [`Plan`].
//!
//! It never retries: an error counts once, and its connection is opened anew. In an open loop a request is due when the
//! timer fires, whatever became of the earlier ones, so a slow gateway cannot make the load lighter for itself.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex as Turn, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Measured, Pace, Plan,
    connection::{Answer, Connection},
    now_ns, process, wire,
};
use crate::storm::figures::quantile;

/// How long one request may take before the lane gives it up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long [`Pace::Hold`] takes to open its connections, per thousand of them.
const RAMP_PER_THOUSAND: Duration = Duration::from_millis(300);
/// What a lane waits after an error, so that a gateway that is gone is not asked a million times.
const REST: Duration = Duration::from_millis(5);
/// How often it looks whether all are open.
const LOOK: Duration = Duration::from_millis(20);

/// What has come since the measuring began.
#[derive(Default)]
struct Tally {
    measured: Measured,
    latencies: Vec<u64>,
    firsts: Vec<u64>,
    transits: Vec<u64>,
    /// Streams that have begun, in [`Pace::Hold`].
    begun: usize,
}

/// One lane's tools.
#[derive(Clone)]
struct Lane {
    plan: Arc<Plan>,
    request: Arc<Vec<u8>>,
    tally: Arc<Mutex<Tally>>,
    /// Requests so far, of all lanes: whose turn it is.
    turns: Arc<AtomicUsize>,
}

/// Carries the plan out.
pub async fn run(plan: Plan) -> Measured {
    let headers = if plan.users > 0 { vec![wire::first_key()] } else { plan.headers.clone() };
    let request = Arc::new(wire::request(&plan.addr, plan.shape, &headers));
    let lane = Lane { request, plan: Arc::new(plan), tally: Arc::default(), turns: Arc::default() };
    match lane.plan.pace {
        Pace::Closed => closed(&lane).await,
        Pace::Open(per_second) => open(&lane, per_second).await,
        Pace::Exactly(requests) => exactly(&lane, requests).await,
        Pace::Hold => hold(&lane).await,
    }
}

async fn closed(lane: &Lane) -> Measured {
    let mut lanes = JoinSet::new();
    for n in 0..lane.plan.connections {
        let lane = lane.clone();
        lanes.spawn(async move {
            // Streams must not all be at the same chunk.
            sleep(Duration::from_millis(lane.plan.warm_up_ms) * n as u32 / 2 / lane.plan.connections as u32)
                .await;
            let mut connection = None;
            loop {
                lane.once(&mut connection, now_ns()).await;
            }
        });
    }
    measure(lane).await
}

async fn open(lane: &Lane, per_second: u32) -> Measured {
    let (due, waiting) = mpsc::channel(100_000);
    let waiting = Arc::new(Turn::new(waiting));
    let mut lanes = JoinSet::new();
    for _ in 0..lane.plan.connections {
        let (lane, waiting) = (lane.clone(), waiting.clone());
        lanes.spawn(async move {
            let mut connection = None;
            loop {
                let next = waiting.lock().await.recv().await;
                let Some(due) = next else { return };
                lane.once(&mut connection, due).await;
            }
        });
    }
    lanes.spawn(async move {
        let mut ticks = interval(Duration::from_secs(1) / per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            // A full channel is minutes of lag: whoever waits there shows it in every latency.
            let _ = due.try_send(now_ns());
        }
    });
    measure(lane).await
}

async fn exactly(lane: &Lane, requests: u32) -> Measured {
    let begin = lane.begin();
    let mut lanes = JoinSet::new();
    for _ in 0..lane.plan.connections {
        let lane = lane.clone();
        lanes.spawn(async move {
            let mut connection = None;
            for _ in 0..requests {
                lane.once(&mut connection, now_ns()).await;
            }
        });
    }
    lanes.join_all().await;
    lane.end(begin)
}

async fn hold(lane: &Lane) -> Measured {
    let connections = lane.plan.connections;
    let pss_before = lane.plan.pid.map_or(0, process::pss);
    let begin = lane.begin();
    let mut lanes = JoinSet::new();
    for n in 0..connections {
        let lane = lane.clone();
        let turn = RAMP_PER_THOUSAND * n as u32 / 1000;
        lanes.spawn(async move {
            sleep(turn).await;
            lane.once(&mut None, now_ns()).await;
        });
    }
    // Errors count as begun, so that this ends.
    while {
        let tally = lane.tally();
        tally.begun + (tally.measured.errors as usize) < connections
    } {
        sleep(LOOK).await;
    }
    let pss_held = lane.plan.pid.map_or(0, process::pss);
    lanes.join_all().await;
    Measured { pss_before, pss_held, ..lane.end(begin) }
}

/// Lets the load run, and reads the accounts at both edges of what counts.
async fn measure(lane: &Lane) -> Measured {
    sleep(Duration::from_millis(lane.plan.warm_up_ms)).await;
    let begin = lane.begin();
    sleep(Duration::from_millis(lane.plan.measure_ms)).await;
    lane.end(begin)
}

impl Lane {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time and CPU time at the beginning.
    fn begin(&self) -> (u64, u64) {
        let mut tally = self.tally();
        let Measured { errors, first_error, .. } = std::mem::take(&mut *tally).measured;
        // What went wrong while it warmed up went wrong.
        tally.measured = Measured { errors, first_error, ..Measured::default() };
        (now_ns(), self.cpu())
    }

    fn end(&self, (time, cpu): (u64, u64)) -> Measured {
        // A thread that ended meanwhile takes its account with it.
        let (cpu_ns, seconds) = (self.cpu().saturating_sub(cpu), (now_ns() - time) as f64 / 1e9);
        let tally = std::mem::take(&mut *self.tally());
        Measured {
            cpu_ns,
            seconds,
            latency_us: percentiles(&tally.latencies),
            first_us: percentiles(&tally.firsts),
            transit_us: percentiles(&tally.transits),
            ..tally.measured
        }
    }

    fn cpu(&self) -> u64 {
        self.plan.pid.map_or(0, process::cpu_ns)
    }

    /// One request, due at `due`, over `connection` or a new one.
    async fn once(&self, connection: &mut Option<Connection>, due: u64) {
        let why = match timeout(PATIENCE, self.ask(connection)).await {
            Ok(Ok((sent, answer))) => return self.tally().good(due, sent, &answer),
            Ok(Err(why)) => why.to_string(),
            Err(_) => format!("no whole answer within {PATIENCE:?}"),
        };
        self.tally().bad(why);
        sleep(REST).await;
    }

    async fn ask(&self, connection: &mut Option<Connection>) -> std::io::Result<(u64, Answer)> {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(&self.plan.addr).await?,
        };
        let sent = now_ns();
        let mut begun = false;
        let seen = |chunks: usize| {
            let mut tally = self.tally();
            tally.measured.chunks += chunks as u64;
            if chunks > 0 && !begun {
                begun = true;
                tally.begun += 1;
            }
        };
        let answer = match self.plan.users {
            0 => open.ask(&self.request, self.plan.shape, seen).await?,
            users => {
                let mut request = self.request.to_vec();
                wire::set_user(&mut request, self.turns.fetch_add(1, Ordering::Relaxed) % users);
                open.ask(&request, self.plan.shape, seen).await?
            }
        };
        // Only after a whole answer is the connection good for another one.
        *connection = Some(open);
        Ok((sent, answer))
    }
}

impl Tally {
    fn good(&mut self, due: u64, sent: u64, answer: &Answer) {
        self.measured.answers += 1;
        self.latencies.push(now_ns().saturating_sub(due));
        self.firsts.extend(answer.first_at.map(|at| at.saturating_sub(sent)));
        self.transits.extend(&answer.transits);
    }

    fn bad(&mut self, why: String) {
        self.measured.errors += 1;
        self.measured.first_error.get_or_insert(why);
    }
}

/// Median and 99th percentile, microseconds.
fn percentiles(nanoseconds: &[u64]) -> [f64; 2] {
    let mut us: Vec<f64> = nanoseconds.iter().map(|ns| *ns as f64 / 1e3).collect();
    [0.50, 0.99].map(|q| quantile(&mut us, q))
}
