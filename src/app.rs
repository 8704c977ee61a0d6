//! The composition root: builds every part from a configuration, owns every task, reloads and drains.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout},
};

use crate::{
    config::{self, Config, read::Loaded},
    demo, reload,
    server::{self, Gateway, listen},
    tasks::Tasks,
    telemetry,
    upstream::probe,
};

/// How long ended streams may take to flush their last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often a draining gateway looks whether it is done.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// Where the configuration comes from.
pub enum Source {
    /// A file, which is watched.
    File(PathBuf),
    /// The demo's own.
    Demo(demo::Settings),
}

/// Runs the gateway until a signal ends it.
///
/// # Errors
/// The sentences to print when it cannot start: a bad configuration, a port in use.
pub fn run(source: Source) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime does not start: {error}"))?;
    let done = runtime.block_on(serve(source));
    // What still resolves a name or watches a file is not waited for.
    runtime.shutdown_background();
    done
}

async fn serve(source: Source) -> Result<(), String> {
    let tasks = Tasks::new();
    let (loaded, path) = match source {
        Source::File(path) => (config::read::load(&path).map_err(|problems| problems.to_string())?, Some(path)),
        Source::Demo(settings) => (demo::start(&settings, &tasks).await?, None),
    };
    telemetry::start(&loaded.config.telemetry);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let Loaded { config, .. } = loaded;
    let listener = listen::bind(config.server.listen).map_err(|error| in_words(config.server.listen, &error))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let started = describe(&config, address, path.is_none());
    let gateway = Gateway::new(config, path.clone(), tasks.clone())?;
    start(&gateway, listener, path);
    if let Source::Demo(_) = &gateway_source(&gateway) {
        demo::start_traffic(address, &tasks);
    }
    drop(writeln!(io::stdout(), "{started}"));
    stop_signal(&gateway).await?;
    drain(&gateway).await;
    Ok(())
}
