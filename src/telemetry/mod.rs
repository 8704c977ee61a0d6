//! Logs, metrics and traces of the gateway. None of them contains bodies, secrets or the ids of users.
//!
//! | module | holds |
//! | --- | --- |
//! | [`metrics`] | the counters, as handles that targets, models and the gateway own |
//! | [`histogram`] | a histogram without a lock |
//! | [`exposition`] | the text format of metrics; `admin::metrics` decides what is on the page |
//! | [`process`] | the operating system's figures of this process |
//! | [`trace`] | spans; [`span_exporter`](self) sends them by OTLP |
//!
//! # What a level asks of the operator
//!
//! | level | asks |
//! | --- | --- |
//! | `error` | act now: something does not work and will not recover by itself |
//! | `warn` | look today: the gateway works without something (a target, a memory, a span) |
//! | `info` | nothing: one line for each request, each attempt's cost, each failure that was survived, each change of state |
//! | `debug` | nothing: details of connections, for debugging the network |
//! | `trace` | nothing: the output of libraries |

pub(crate) mod exposition;
pub(crate) mod histogram;
pub(crate) mod metrics;
pub(crate) mod process;
mod span_exporter;
pub(crate) mod trace;

mod panics;

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Telemetry};

/// Starts logging to stderr, panics included; `RUST_LOG` overrides the configured filter.
pub(crate) fn start(config: &Telemetry) {
    panics::log_them();
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(&config.log))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    let builder = builder.with_ansi(io::stderr().is_terminal());
    let started = match config.log_format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        // Only a second start in one process comes here.
        tracing::debug!(%error, "logging is already initialised");
    }
}
