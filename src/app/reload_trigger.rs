//! Triggers a reload on SIGHUP, and when the text of the configuration file has changed.
//!
//! [`crate::app::reload`] activates or rejects the new configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use crate::{
    config::{self, watch::Watch},
    server::{active_config::CurrentConfig, reload_handle::ReloadHandle},
};

/// While an editor replaces the file, it is missing or empty; it is read up to this often,
const LOOKS: u32 = 10;
/// this far apart.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(crate) struct ReloadSource {
    /// The file.
    pub path: PathBuf,
    /// What is in force.
    pub config: CurrentConfig,
    /// Reads the file again.
    pub reload: Arc<ReloadHandle>,
}

/// Reloads on SIGHUP, and when the text of the file has changed. The signal is ours, and the file watched, as soon as
/// this returns; the future that does the work is the caller's to run.
pub(crate) fn watch(source: ReloadSource) -> impl Future<Output = ()> + Send {
    let hangups = signal(SignalKind::hangup());
    let watch = watch_file(&source.path);
    async move {
        match hangups {
            Ok(hangups) => run(&source, hangups, watch).await,
            Err(error) => tracing::error!(%error, "cannot listen for SIGHUP; use POST /admin/reload"),
        }
    }
}

async fn run(source: &ReloadSource, mut hangups: Signal, mut watch: Option<Watch>) {
    // A change between the first reading and the watch would go unnoticed.
    let mut last = None;
    reload_if_changed(source, &mut last).await;
    loop {
        tokio::select! {
            _ = hangups.recv() => {
                last = text(&source.path).ok();
                source.reload.reload();
            }
            () = changed(watch.as_ref()) => {
                // A link at its place may lead elsewhere now. First watch, then read: nothing is missed.
                watch = watch_file(&source.path).or(watch);
                reload_if_changed(source, &mut last).await;
            }
        }
    }
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

fn watch_file(path: &Path) -> Option<Watch> {
    Watch::new(path)
        .inspect_err(|error| tracing::warn!("{error}; after a change, send SIGHUP or POST /admin/reload"))
        .ok()
}

/// Compares with the text last read, and with what is in force: a reload by hand may have been quicker.
async fn reload_if_changed(source: &ReloadSource, last: &mut Option<String>) {
    let text = settled(&source.path).await;
    if text.is_some() && text == *last {
        return;
    }
    *last = text;
    let in_force =
        config::load(&source.path).is_ok_and(|loaded| loaded.config == source.config.snapshot().config);
    if !in_force {
        source.reload.reload();
    }
}

/// The text, once the file has some; `None` if it stays missing or empty.
async fn settled(path: &Path) -> Option<String> {
    for _ in 0..LOOKS {
        match text(path) {
            Ok(text) if !text.trim().is_empty() => return Some(text),
            Ok(_) | Err(_) => sleep(LOOK_AGAIN).await,
        }
    }
    text(path).ok()
}

fn text(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests;
