//! What the gateway tells about itself: logs. Bodies and secrets are in none of them.

mod panics;

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Telemetry};

/// Starts logging to stderr, panics included; `RUST_LOG` overrides the configured filter.
pub fn start(config: &Telemetry) {
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
        tracing::debug!(%error, "logging was started before");
    }
}
