//! What is on the page at `GET /metrics`, and where each number comes from.
//!
//! What happened was counted by its owner (`telemetry::meters`); what is true now is read at the scrape, from the same rows
//! as `/admin/providers`, so that no number is kept twice. Labels are what the configuration names and words of the source
//! code: no user, no request, nothing that a client or a provider wrote.

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

/// Where the numbers come from.
pub struct Sources<'a> {
    /// The configuration and targets in force.
    pub snapshot: &'a Snapshot,
    /// The gateway as a whole.
    pub gateway: &'a GatewayMeters,
    /// What may be repeated.
    pub budget: &'a Budget,
    /// The slots of users.
    pub admission: &'a Admission,
    /// Who runs.
    pub calls: &'a Registry,
    /// What is remembered, if anything.
    pub memory: Option<&'a MemoryService>,
    /// The connection to Redis, if there is one.
    pub redis: Option<&'a RedisClient>,
    /// What gateways tell each other, if there is one.
    pub peers: Option<&'a Gossip>,
    /// Events that slow watchers have missed.
    pub events_lost: u64,
    /// Spans that no collector has taken.
    pub spans_lost: u64,
}

/// The page as of `at`.
pub async fn page(sources: Sources<'_>, at: Moment) -> MetricsPage {
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

/// Every histogram of `timed`, with `labels` and, under `key`, the word of how it failed.
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

/// What clients got, by the model they asked for.
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
    let help = "From the head of a request to the last byte of its answer, as clients saw it.";
    page.histogram("gen_ai_server_request_duration_seconds", help, durations);
    let help = "From the head of a request to the first token of its stream, as clients saw it.";
    page.histogram("gen_ai_server_time_to_first_token_seconds", help, firsts);
    let each = |count: fn(&ModelMeters) -> u64| {
        all.iter().map(move |(name, meters)| (vec![("model", (*name).to_owned())], count(meters)))
    };
    let help = "Streams that broke after their first token.";
    page.counter("concierge_streams_broken", help, each(|meters| meters.broken.get()));
    let help = "Broken streams that another target went on with.";
    page.counter("concierge_streams_rescued", help, each(|meters| meters.rescued.get()));
}

fn of_gen_ai(operation: GenAi, model: &str) -> Labels {
    vec![("gen_ai_operation_name", operation.as_str().to_owned()), ("gen_ai_request_model", model.to_owned())]
}

fn gateway(page: &mut MetricsPage, sources: &Sources<'_>, at: Moment) {
    let meters = sources.gateway;
    let help = "Time in the gateway before the first target was asked, without the queue.";
    page.histogram("concierge_overhead_seconds", help, plain(meters.overhead.read()));
    let help = "Time that admitted requests waited for their slot.";
    page.histogram("concierge_queue_seconds", help, plain(meters.queue.read()));
    let help = "Requests that were refused, by error code.";
    let refusals = meters.refusals.read();
    let refusals = refusals.into_iter().map(|(code, count)| (vec![("code", code.to_owned())], count));
    page.counter("concierge_refusals", help, refusals);
    let help = "Requests in flight or waiting for a slot.";
    page.gauge("concierge_requests_in_flight", help, plain(sources.calls.len() as f64));
    let help = "What is left for failovers and other repeats: 0 means that failures are passed on.";
    page.gauge("concierge_retry_budget_left", help, plain(sources.budget.left(at.now)));
    let slots = sources.admission.slots_view();
    let by_operation = slots.by_operation();
    let of = |operation: &str| vec![("operation", operation.to_owned())];
    let in_use = by_operation.iter().map(|(operation, count)| (of(operation), count.in_use as f64));
    page.gauge("concierge_slots_in_use", "Slots held, over all users.", in_use);
    let waiting = by_operation.iter().map(|(operation, count)| (of(operation), count.waiting as f64));
    page.gauge("concierge_slots_queued", "Requests that wait for a slot, over all users.", waiting);
    let help = "Requests that may be in flight, over all users.";
    page.gauge("concierge_slots_limit", help, plain(slots.total.limit as f64));
    page.counter("concierge_panics", "Panics that cost one request: bugs.", plain(meters.panics.get()));
    let help = "Events that slow watchers of the admin page have missed.";
    page.counter("concierge_events_dropped", help, plain(sources.events_lost));
    let help = "Spans that the collector did not take.";
    page.counter("concierge_spans_dropped", help, plain(sources.spans_lost));
}

async fn remembered(page: &mut MetricsPage, memory: &MemoryService) {
    let mut recalls = Vec::new();
    memory.meters().recalls.each(|skipped, histogram| {
        let result = skipped.unwrap_or("recalled").to_owned();
        recalls.push((vec![("result", result)], histogram.read()));
    });
    page.histogram("concierge_recall_duration_seconds", "Recalls for chats, by what came of them.", recalls);
    let (hits, misses) = memory.cache_hits_and_misses();
    let of = |result: &str, count| (vec![("result", result.to_owned())], count);
    let help = "Questions to the cache of recalled rankings.";
    page.counter("concierge_recall_cache", help, [of("hit", hits), of("miss", misses)]);
    let errors = memory.meters().store_errors.read();
    // Also those that never happened: an increase from nothing at all is none to Prometheus.
    let errors = StoreError::OUTAGES.map(|word| {
        let count = errors.iter().find(|(error, _)| *error == word).map_or(0, |(_, count)| *count);
        (vec![("error", word.to_owned())], count)
    });
    page.counter("concierge_store_errors", "Calls of the memory store that failed because of it.", errors);
    let help = "Whether the memory store can be read and written.";
    page.gauge("concierge_store_up", help, plain(f64::from(u8::from(memory.is_healthy().await))));
    let help = "Turns that were not remembered because too many waited for the store.";
    page.counter("concierge_memory_dropped", help, plain(memory.dropped()));
    if let Some(items) = memory.items().await {
        page.gauge("concierge_memory_items", "Memories kept, of all users.", plain(items as f64));
    }
}

fn configuration(page: &mut MetricsPage, sources: &Sources<'_>) {
    let config = &sources.snapshot.config;
    let reloads = sources.gateway.reloads();
    let of = |result: &str, count| (vec![("result", result.to_owned())], count);
    let each = [of("done", reloads.done), of("refused", reloads.refused)];
    page.counter("concierge_reloads", "Reloads of the configuration.", each);
    let help = "1 if the last reload is in force, 0 if it was refused and the configuration before it stays.";
    page.gauge("concierge_config_last_reload_successful", help, plain(f64::from(u8::from(reloads.last_ok))));
    let help = "Since when the configuration is in force.";
    page.gauge("concierge_config_in_force_timestamp_seconds", help, plain(unix(reloads.in_force)));
    let digest = Sha256::digest(config.masked().to_string());
    let digest: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let help = "The configuration without its secrets, as a digest: gateways that agree have the same.";
    page.info("concierge_config", help, vec![("digest", digest)]);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    page.info("concierge_build", "What runs.", vec![("version", version)]);
}

/// Named as every exporter of Prometheus names them.
fn process(page: &mut MetricsPage, started: SystemTime) {
    page.gauge("process_start_time_seconds", "When the process started.", plain(unix(started)));
    let Some(process) = Process::read() else { return };
    page.rising("process_cpu_seconds", "Processor time.", plain(process.cpu));
    page.gauge("process_resident_memory_bytes", "Bytes in memory.", plain(process.resident as f64));
    page.gauge("process_virtual_memory_bytes", "Bytes of addresses.", plain(process.virtual_size as f64));
    page.gauge("process_open_fds", "Open files and sockets.", plain(process.open_files as f64));
    let most = process.max_files.map(|most| (Labels::new(), most as f64));
    page.gauge("process_max_fds", "The most there may be.", most);
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
