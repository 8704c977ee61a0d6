//! Triggers a reload on SIGHUP, and when the text of the configuration file has changed.
//!
//! [`crate::app::reload`] activates or rejects the new configuration.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use crate::{
    app::reload::reload,
    config::{self, watch::Watch},
    server::Gateway,
};

/// While an editor replaces the file, it is missing or empty; it is read up to this often,
const LOOKS: u32 = 10;
/// this far apart.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Reloads on SIGHUP, and when the text of the file has changed. The signal handler is installed and the file watched as
/// soon as this returns; the caller must run the returned future, which does the work.
pub fn watch(gateway: Arc<Gateway>) -> impl Future<Output = ()> + Send {
    let hangups = signal(SignalKind::hangup());
    let watch = gateway.path.as_deref().map(watch_file);
    async move {
        let Some(path) = gateway.path.clone() else { return };
        match hangups {
            Ok(hangups) => run(&gateway, &path, hangups, watch.flatten()).await,
            Err(error) => {
                tracing::error!(%error, "cannot listen for SIGHUP; use POST /admin/reload")
            }
        }
    }
}

async fn run(gateway: &Gateway, path: &Path, mut hangups: Signal, mut watch: Option<Watch>) {
    // A change between the first reading and the watch would go unnoticed.
    let mut last = None;
    reload_if_changed(gateway, path, &mut last).await;
    loop {
        tokio::select! {
            _ = hangups.recv() => {
                last = text(path).ok();
                reload(gateway);
            }
            () = changed(watch.as_ref()) => {
                // A symbolic link may point elsewhere now. Watching before reading misses nothing.
                watch = watch_file(path).or(watch);
                reload_if_changed(gateway, path, &mut last).await;
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

/// Compares with the text last read and with the one in force, because a reload by hand may have been faster.
async fn reload_if_changed(gateway: &Gateway, path: &Path, last: &mut Option<String>) {
    let text = settled(path).await;
    if text.is_some() && text == *last {
        return;
    }
    *last = text;
    let in_force =
        config::load(path).is_ok_and(|loaded| loaded.config == gateway.active_config().snapshot.config);
    if !in_force {
        reload(gateway);
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
