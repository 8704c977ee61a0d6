//! The setup of every test: fake providers, a gateway in front of them, and a client.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use concierge_testkit::{Client, ConfigFile, FakeProvider, Gateway, Reply, gateway::Launch, openai::ask};
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};

/// The binary under test.
pub fn launch() -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_concierge"))
}

/// Starts a gateway with this configuration.
pub async fn gateway(config: &ConfigFile) -> Gateway {
    launch().start(config.toml()).await
}

/// Two healthy providers and a gateway.
pub struct Stage {
    /// The first target of model `m`.
    pub a: FakeProvider,
    /// The second target of model `m`.
    pub b: FakeProvider,
    /// The gateway in front of both.
    pub gw: Gateway,
    /// A client of the gateway.
    pub client: Client,
}

impl Stage {
    /// Model `m` on `a/m` and `b/m`, in this order, with short timeouts.
    pub async fn pair() -> Self {
        Self::with(|config| config).await
    }

    /// The same, with changes to the configuration.
    pub async fn with(change: impl FnOnce(ConfigFile) -> ConfigFile) -> Self {
        Self::on(|a, b| change(ConfigFile::pair(a, b))).await
    }

    /// Model `m` on `a/m` alone, with changes to the configuration; `b` is there and not configured.
    pub async fn single(change: impl FnOnce(ConfigFile) -> ConfigFile) -> Self {
        Self::on(|a, _| change(ConfigFile::single(a))).await
    }

    /// Two providers and any configuration.
    pub async fn on(config: impl FnOnce(&FakeProvider, &FakeProvider) -> ConfigFile) -> Self {
        let (a, b) = (FakeProvider::start().await, FakeProvider::start().await);
        let gw = gateway(&config(&a, &b)).await;
        let client = gw.client();
        Self { a, b, gw, client }
    }

    /// A whole chat with model `m`.
    pub async fn chat(&self) -> Reply {
        self.client.chat(&ask("m")).await
    }

    /// The number of calls each provider has had.
    pub fn calls(&self) -> (usize, usize) {
        (self.a.calls().len(), self.b.calls().len())
    }
}

/// A breaker that never opens and an unlimited retry budget: for tests that fail the same target many times.
pub fn patient(config: ConfigFile) -> ConfigFile {
    config.set("breaker", "consecutive_failures", "1000000").set("breaker", "success_rate", "0.0").set(
        "resilience",
        "retry_budget",
        "1.0",
    )
}

/// Runs beside the test, until it is dropped.
pub fn begin<T: Send + 'static>(job: impl Future<Output = T> + Send + 'static) -> JoinSet<T> {
    let mut set = JoinSet::new();
    set.spawn(job);
    set
}

/// Runs `n` jobs, `width` at a time; their results in order.
pub async fn many<T, F>(n: usize, width: usize, job: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut results: Vec<Option<T>> = (0..n).map(|_| None).collect();
    let mut next = 0;
    while next < n || !running.is_empty() {
        while next < n && running.len() < width {
            let (i, job) = (next, job(next));
            running.spawn(async move { (i, job.await) });
            next += 1;
        }
        let (i, result) = running.join_next().await.unwrap().unwrap();
        results[i] = Some(result);
    }
    results.into_iter().flatten().collect()
}

/// One finished request of a [`Load`].
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was sent.
    pub sent: Instant,
    /// How long it took.
    pub took: Duration,
    /// The status of the response.
    pub status: u16,
    /// The target that answered.
    pub target: String,
    /// `error.code`, empty for a success.
    pub code: String,
}

/// Chats back to back on some lanes until stopped.
pub struct Load {
    lanes: JoinSet<()>,
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Load {
    /// Starts `lanes` lanes of whole chats with model `m`, with a pause after each answer.
    pub fn start(client: &Client, lanes: usize, pause: Duration) -> Self {
        Self::asking(client, lanes, pause, ask("m"))
    }

    /// The same with another body.
    pub fn asking(client: &Client, lanes: usize, pause: Duration, body: Value) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let samples = Arc::default();
        let mut set = JoinSet::new();
        for _ in 0..lanes {
            let lane = lane(client.clone(), body.clone(), pause, Arc::clone(&stop), Arc::clone(&samples));
            set.spawn(lane);
        }
        Self { lanes: set, stop, samples }
    }

    /// The samples so far.
    pub fn so_far(&self) -> Vec<Sample> {
        self.samples.lock().unwrap().clone()
    }

    /// Lets the running requests finish; returns all samples.
    pub async fn stop(mut self) -> Vec<Sample> {
        self.stop.store(true, SeqCst);
        while let Some(lane) = self.lanes.join_next().await {
            lane.expect("no lane panics");
        }
        self.so_far()
    }
}

async fn lane(
    client: Client,
    body: Value,
    pause: Duration,
    stop: Arc<AtomicBool>,
    out: Arc<Mutex<Vec<Sample>>>,
) {
    while !stop.load(SeqCst) {
        let sent = Instant::now();
        let reply = client.chat(&body).await;
        let code = if reply.code() == 200 { String::new() } else { reply.error_code() };
        let target = reply.header("x-concierge-target").to_owned();
        out.lock().unwrap().push(Sample { sent, took: sent.elapsed(), status: reply.code(), target, code });
        tokio::time::sleep(pause).await;
    }
}

/// The samples that are not successes, as text.
pub fn errors(samples: &[Sample]) -> Vec<String> {
    let bad = samples.iter().filter(|s| s.status != 200);
    bad.map(|s| format!("{} {} after {:?}", s.status, s.code, s.took)).collect()
}
