//! A new configuration while running: build, check, swap, retire.
//!
//! A reload that fails changes nothing. The listening address is the one thing that a reload cannot change; until a
//! restart the gateway is as careful as the address on which it really listens requires.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use crate::{
    config::{self, Config, Loaded, watch::Watch},
    events::Event,
    server::{Edge, Gateway, Reloaded},
};

/// While an editor replaces the file it is missing or empty; it gets this many looks,
const LOOKS: u32 = 10;
/// this far apart.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Reads the file again, and puts it in force if it is good. One at a time.
pub fn reload(gateway: &Gateway) -> Reloaded {
    let mut last = gateway.last_reload.lock();
    let (ok, messages) = match load(gateway).and_then(|loaded| put_in_force(gateway, loaded)) {
        Ok(messages) => (true, messages),
        Err(reasons) => (false, reasons),
    };
    if !ok {
        for reason in &messages {
            tracing::error!("reload refused, the configuration in force stays: {reason}");
        }
    }
    let message = messages.join("; ");
    gateway.events.tell(|| Event::Reload { ok, message });
    let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let reloaded = Reloaded { at, ok, messages };
    *last = Some(reloaded.clone());
    reloaded
}

fn load(gateway: &Gateway) -> Result<Loaded, Vec<String>> {
    let Some(path) = &gateway.path else {
        return Err(vec!["the demo has no configuration file".to_owned()]);
    };
    config::load(path).map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
}

/// What changed, or why it was refused.
fn put_in_force(gateway: &Gateway, loaded: Loaded) -> Result<Vec<String>, Vec<String>> {
    let Loaded { mut config, warnings } = loaded;
    let old = gateway.edge().snapshot.clone();
    let moved = keep_listener(&old.config, &mut config)?;
    let mut messages = config::changes(&old.config, &config);
    let edge = Edge::new(config, Some(&old), &gateway.events, &gateway.tasks).map_err(|error| vec![error])?;
    gateway.replace(edge);
    if messages.is_empty() {
        messages.push("nothing changed".to_owned());
    }
    for message in &messages {
        tracing::info!("reload: {message}");
    }
    for warning in warnings.iter().map(ToString::to_string).chain(moved) {
        tracing::warn!("{warning}");
        messages.push(format!("warning: {warning}"));
    }
    Ok(messages)
}

/// Keeps the old address, with a warning if another is asked for.
///
/// The file was checked for the address that it names: one for loopback alone may leave out keys and token, which would
/// open a gateway that still listens to other machines.
fn keep_listener(old: &Config, new: &mut Config) -> Result<Option<String>, Vec<String>> {
    let (now, asked) = (old.server.listen, new.server.listen);
    if now == asked {
        return Ok(None);
    }
    let guarded = !new.auth.keys.is_empty() && new.admin.token.is_some();
    let local = |address: std::net::SocketAddr| address.ip().to_canonical().is_loopback();
    if local(asked) && !local(now) && !guarded {
        return Err(vec![format!(
            "server.listen: the gateway listens on {now} until it is restarted, and there it needs [[auth.keys]] and \
             an admin.token; restart it to move to {asked}"
        )]);
    }
    new.server.listen = now;
    Ok(Some(format!("server.listen: moving from {now} to {asked} needs a restart; {now} stays until then")))
}

/// Reloads on SIGHUP, and when the text of the file has changed. The signal is ours, and the file watched, as soon as
/// this returns; the future that does the work is the caller's to run.
pub fn watch(gateway: Arc<Gateway>) -> impl Future<Output = ()> + Send {
    let hangups = signal(SignalKind::hangup());
    let watch = gateway.path.as_deref().map(watch_file);
    async move {
        let Some(path) = gateway.path.clone() else { return };
        match hangups {
            Ok(hangups) => run(&gateway, &path, hangups, watch.flatten()).await,
            Err(error) => tracing::error!(%error, "no reload on SIGHUP or on a change of the file"),
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
                // A link at its place may lead elsewhere now. First watch, then read: nothing is missed.
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

/// Compares with the text last read, and with what is in force: a reload by hand may have been quicker.
async fn reload_if_changed(gateway: &Gateway, path: &Path, last: &mut Option<String>) {
    let text = settled(path).await;
    if text.is_some() && text == *last {
        return;
    }
    *last = text;
    let in_force = config::load(path).is_ok_and(|loaded| loaded.config == gateway.edge().snapshot.config);
    if !in_force {
        reload(gateway);
    }
}

/// The text, once there is one; `None` if there never is.
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
