//! The metrics at `GET /metrics`, and the source of each number.
//!
//! The owner of an event counts it (`telemetry::metrics`). The present state is read at the scrape, from the same rows
//! as `/admin/providers`, so no number is kept twice. Labels come from the configuration and from constants of the source
//! code: never from a user, a request, a client or a provider.

mod cluster;
mod gossip;
mod targets;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::{Moment, view};
use crate::{
    admission::Admission,
    call::Registry,
    cluster::RedisClient,
    dispatch::budget::Budget,
    gossip::Gossip,
    memory::{service::MemoryService, store::StoreError},
    telemetry::{
        exposition::{Labels, MetricsPage},
        histogram::HistogramSnapshot,
        metrics::{GatewayMeters, GenAi, ModelMeters, OTHER, OutcomeHistogram},
        process::Process,
    },
    upstream::Snapshot,
};

/// The sources of the numbers.
pub(crate) struct Sources<'a> {
    /// The configuration and targets in force.
    pub snapshot: &'a Snapshot,
    /// The gateway as a whole.
    pub gateway: &'a GatewayMeters,
    /// The retry budget: what is left of it.
    pub budget: &'a Budget,
    /// The slots in use and the queue.
    pub admission: &'a Admission,
    /// The calls in flight.
    pub calls: &'a Registry,
    /// The memory, if it is on.
    pub memory: Option<&'a MemoryService>,
    /// The Redis client, if Redis is configured.
    pub redis: Option<&'a RedisClient>,
    /// The gossip between gateways, if Redis is configured.
    pub peers: Option<&'a Gossip>,
    /// Events that slow watchers have missed.
    pub events_lost: u64,
    /// Spans that were dropped.
    pub spans_lost: u64,
}

/// The page as of `at`.
pub(crate) async fn page(sources: Sources<'_>, at: Moment) -> MetricsPage {
    let mut page = MetricsPage::default();
    models(&mut page, sources.snapshot);
    targets::write(&mut page, sources.snapshot, &view::rows(sources.snapshot, at), at);
    gateway(&mut page, &sources, at);
    if let Some(memory) = sources.memory {
        remembered(&mut page, memory).await;
    }
    if let Some(redis) = sources.redis {
        cluster::write(&mut page, redis, sources.admission);
    }
    if let Some(peers) = sources.peers {
        gossip::write(&mut page, peers);
    }
    configuration(&mut page, &sources);
    process(&mut page, sources.gateway.started);
    page
}

/// A sample without labels.
fn plain<T>(value: T) -> [(Labels, T); 1] {
    [(Labels::new(), value)]
}

/// Every histogram of `timed`, with `labels` and the kind of failure under `key`.
fn timed(
    into: &mut Vec<(Labels, HistogramSnapshot)>,
    timed: &OutcomeHistogram,
    labels: &Labels,
    key: &'static str,
) {
    timed.each(|word, histogram| {
        let word = word.map(|word| (key, word.to_owned()));
        into.push((labels.iter().cloned().chain(word).collect(), histogram.read()));
    });
}

/// Responses to clients, by the model they requested.
fn models(page: &mut MetricsPage, snapshot: &Snapshot) {
    let configured =
        snapshot.models().filter_map(|model| Some((&*model.config.name, model.meters.as_deref()?)));
    let all: Vec<(&str, &ModelMeters)> =
        configured.chain(snapshot.others().map(|(_, model)| (OTHER, model))).collect();
    let (mut durations, mut firsts) = (Vec::new(), Vec::new());
    for (name, meters) in &all {
        for (operation, requests) in meters.requests.used() {
            let labels = of_gen_ai(operation, name);
            timed(&mut durations, &requests.duration, &labels, "error_type");
            if requests.first_token.count() > 0 {
                firsts.push((labels, requests.first_token.read()));
            }
        }
    }
    let help = "Time from the head of a request to the last byte of its answer, as seen by clients.";
    page.histogram("gen_ai_server_request_duration_seconds", help, durations);
    let help = "Time from the head of a request to the first token of its stream, as seen by clients.";
    page.histogram("gen_ai_server_time_to_first_token_seconds", help, firsts);
    let each = |count: fn(&ModelMeters) -> u64| {
        all.iter().map(move |(name, meters)| (vec![("model", (*name).to_owned())], count(meters)))
    };
    let help = "Streams that broke after their first token.";
    page.counter("concierge_streams_broken", help, each(|meters| meters.broken.get()));
    let help = "Broken streams that another target continued.";
    page.counter("concierge_streams_rescued", help, each(|meters| meters.rescued.get()));
}

fn of_gen_ai(operation: GenAi, model: &str) -> Labels {
    vec![("gen_ai_operation_name", operation.as_str().to_owned()), ("gen_ai_request_model", model.to_owned())]
}

fn gateway(page: &mut MetricsPage, sources: &Sources<'_>, at: Moment) {
    let meters = sources.gateway;
    let help = "Time in the gateway before the first attempt, without the time in the queue.";
    page.histogram("concierge_overhead_seconds", help, plain(meters.overhead.read()));
    let help = "Time that admitted requests waited for a slot.";
    page.histogram("concierge_queue_seconds", help, plain(meters.queue.read()));
    let help = "Requests that were refused, by error code.";
    let refusals = meters.refusals.read();
    let refusals = refusals.into_iter().map(|(code, count)| (vec![("code", code.to_owned())], count));
    page.counter("concierge_refusals", help, refusals);
    let help = "Requests in flight or waiting for a slot.";
    page.gauge("concierge_requests_in_flight", help, plain(sources.calls.len() as f64));
    let help = "Retries left in the retry budget; at 0, failures are returned to clients.";
    page.gauge("concierge_retry_budget_left", help, plain(sources.budget.left(at.now)));
    let slots = sources.admission.slots_view();
    let by_operation = slots.by_operation();
    let of = |operation: &str| vec![("operation", operation.to_owned())];
    let in_use = by_operation.iter().map(|(operation, count)| (of(operation), count.in_use as f64));
    page.gauge("concierge_slots_in_use", "Slots in use, over all users.", in_use);
    let waiting = by_operation.iter().map(|(operation, count)| (of(operation), count.waiting as f64));
    page.gauge("concierge_slots_queued", "Requests waiting for a slot, over all users.", waiting);
    let help = "Limit of requests in flight, over all users.";
    page.gauge("concierge_slots_limit", help, plain(slots.total.limit as f64));
    page.counter("concierge_panics", "Panics that cost one request: bugs.", plain(meters.panics.get()));
    let help = "Events dropped because a subscriber of /admin/events was too slow.";
    page.counter("concierge_events_dropped", help, plain(sources.events_lost));
    let help = "Spans dropped because the OTLP collector did not accept them.";
    page.counter("concierge_spans_dropped", help, plain(sources.spans_lost));
}

async fn remembered(page: &mut MetricsPage, memory: &MemoryService) {
    let mut recalls = Vec::new();
    memory.meters().recalls.each(|skipped, histogram| {
        let result = skipped.unwrap_or("recalled").to_owned();
        recalls.push((vec![("result", result)], histogram.read()));
    });
    page.histogram("concierge_recall_duration_seconds", "Time of recalls for chats, by result.", recalls);
    let (hits, misses) = memory.cache_hits_and_misses();
    let of = |result: &str, count| (vec![("result", result.to_owned())], count);
    let help = "Lookups in the cache of recalled rankings, by result.";
    page.counter("concierge_recall_cache", help, [of("hit", hits), of("miss", misses)]);
    let errors = memory.meters().store_errors.read();
    // Includes errors that never happened: Prometheus sees no increase if a series only appears with it.
    let errors = StoreError::OUTAGES.map(|word| {
        let count = errors.iter().find(|(error, _)| *error == word).map_or(0, |(_, count)| *count);
        (vec![("error", word.to_owned())], count)
    });
    page.counter("concierge_store_errors", "Memory store operations that failed, by error.", errors);
    let help = "1 if the memory store can be read and written, 0 if not.";
    page.gauge("concierge_store_up", help, plain(f64::from(u8::from(memory.is_healthy().await))));
    let help = "Conversation turns not remembered because the queue to the memory store was full.";
    page.counter("concierge_memory_dropped", help, plain(memory.dropped()));
    if let Some(items) = memory.items().await {
        page.gauge("concierge_memory_items", "Memories stored, over all users.", plain(items as f64));
    }
}

fn configuration(page: &mut MetricsPage, sources: &Sources<'_>) {
    let config = &sources.snapshot.config;
    let reloads = sources.gateway.reloads();
    let of = |result: &str, count| (vec![("result", result.to_owned())], count);
    let each = [of("done", reloads.done), of("refused", reloads.refused)];
    page.counter("concierge_reloads", "Configuration reloads, by result.", each);
    let help = "1 if the last reload is in force, 0 if it was refused and the previous configuration stays.";
    page.gauge("concierge_config_last_reload_successful", help, plain(f64::from(u8::from(reloads.last_ok))));
    let help = "Unix time since which the configuration is in force.";
    page.gauge("concierge_config_in_force_timestamp_seconds", help, plain(unix(reloads.in_force)));
    let digest = Sha256::digest(config.masked().to_string());
    let digest: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let help = "Digest of the configuration without secrets: equal on gateways that are configured alike.";
    page.info("concierge_config", help, vec![("digest", digest)]);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    page.info("concierge_build", "The version that runs.", vec![("version", version)]);
}

/// Named as in every other Prometheus exporter.
fn process(page: &mut MetricsPage, started: SystemTime) {
    let help = "Start time of the process since unix epoch in seconds.";
    page.gauge("process_start_time_seconds", help, plain(unix(started)));
    let Some(process) = Process::read() else { return };
    let help = "Total user and system CPU time spent in seconds.";
    page.rising("process_cpu_seconds", help, plain(process.cpu));
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory size in bytes.", process.resident),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", process.virtual_size),
        ("process_open_fds", "Number of open file descriptors.", process.open_files),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, plain(value as f64));
    }
    let most = process.max_files.map(|most| (Labels::new(), most as f64));
    page.gauge("process_max_fds", "Maximum number of open file descriptors.", most);
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
