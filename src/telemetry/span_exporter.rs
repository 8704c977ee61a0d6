//! Spans on their way to the collector: a bounded queue, emptied by one task in batches.
//!
//! It must never delay a request. Spans that do not fit are dropped and counted, and so are those the collector rejects.
//! An unreachable collector must cost nothing but the spans.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

/// Spans that may wait in the queue.
const WAITING: usize = 4096;
/// Spans in one request to the collector.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// Timeout of one request to the collector.
const LIMIT: Duration = Duration::from_secs(5);

/// The two ends of the queue.
pub(crate) struct Export {
    /// To read the number of lost spans, or to close it.
    pub outbox: Arc<SpanQueue>,
    /// Takes spans as they end.
    pub processor: Processor,
}

/// The count of lost spans, and the signal to close.
#[derive(Debug, Default)]
pub(crate) struct SpanQueue {
    lost: AtomicU64,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl SpanQueue {
    /// Spans that were dropped.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Closes the queue, and returns when the waiting spans are sent or lost.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.closed.cancelled().await;
    }

    fn lose(&self, spans: usize) {
        self.lost.fetch_add(spans as u64, Relaxed);
    }
}

/// Puts spans into the queue.
#[derive(Debug)]
pub(crate) struct Processor {
    outbox: Arc<SpanQueue>,
    spans: mpsc::Sender<SpanData>,
}

impl SpanProcessor for Processor {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.outbox.lose(1);
        }
    }

    /// Never blocks: [`SpanQueue::close`] is how it ends.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Starts the task that sends spans of `resource` to `endpoint`.
///
/// # Errors
/// One sentence, if the endpoint cannot be used.
pub(crate) fn start(
    endpoint: &url::Url,
    client: reqwest::Client,
    resource: &Resource,
    tasks: &Tasks,
) -> Result<Export, String> {
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_at(endpoint))
        .with_timeout(LIMIT)
        .build()
        .map_err(|error| format!("telemetry.otlp_endpoint: {error}"))?;
    exporter.set_resource(resource);
    let (sender, spans) = mpsc::channel(WAITING);
    let outbox = Arc::new(SpanQueue::default());
    let sending = outbox.clone();
    tasks.spawn_until_shutdown(async move {
        let _closed = sending.closed.clone().drop_guard();
        send_all(&sending, &exporter, spans).await;
    });
    Ok(Export { outbox: outbox.clone(), processor: Processor { outbox, spans: sender } })
}

/// An address without a path gets the OTLP path for traces.
fn traces_at(endpoint: &url::Url) -> String {
    let mut endpoint = endpoint.clone();
    if endpoint.path() == "/" {
        endpoint.set_path("/v1/traces");
    }
    endpoint.to_string()
}

/// Runs until the queue is closed and empty.
async fn send_all(outbox: &SpanQueue, exporter: &SpanExporter, mut spans: mpsc::Receiver<SpanData>) {
    let mut away = false;
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = outbox.closing.cancelled() => spans.close(),
            _ = spans.recv_many(&mut batch, BATCH) => gather(outbox, &mut spans, &mut batch).await,
        }
        if batch.is_empty() && spans.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let count = batch.len();
        match exporter.export(batch).await {
            Ok(()) => away = false,
            Err(error) => {
                outbox.lose(count);
                // Logged once per outage.
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(%error, "spans lost: telemetry.otlp_endpoint does not accept them");
                }
            }
        }
    }
}

/// Waits a moment for more, unless the batch is full or the queue closed.
async fn gather(outbox: &SpanQueue, spans: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    let filled =
        async { while batch.len() < BATCH && spans.recv_many(batch, BATCH - batch.len()).await > 0 {} };
    tokio::select! {
        () = filled => {}
        () = sleep(GATHER) => {}
        () = outbox.closing.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_alone_means_the_usual_path() {
        let traces = |text: &str| traces_at(&text.parse().unwrap());
        assert_eq!(traces("http://127.0.0.1:4318"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(traces("https://h/otlp/v1/traces?x=1"), "https://h/otlp/v1/traces?x=1");
    }
}
