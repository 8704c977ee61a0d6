//! A new configuration at run time: build, check, swap, retire.
//!
//! A reload that fails changes nothing. It cannot change the listening address: until a restart, the checks apply to the
//! address on which the gateway really listens. Nor can it change the shared Redis.

use std::time::SystemTime;

use crate::{
    admin::Reloaded,
    config::{self, Config, Loaded},
    events::Event,
    server::{ActiveConfig, Gateway},
};

/// Reads the file again, and activates the configuration if it is valid. One reload at a time.
pub fn reload(gateway: &Gateway) -> Reloaded {
    let mut last = gateway.last_reload.lock();
    let (ok, messages) = match load(gateway).and_then(|loaded| activate(gateway, loaded)) {
        Ok(messages) => (true, messages),
        Err(reasons) => (false, reasons),
    };
    if !ok {
        for reason in &messages {
            tracing::error!("reload refused, the previous configuration stays in force: {reason}");
        }
    }
    gateway.meters.reloaded(ok);
    let message = messages.join("; ");
    gateway.events.record(Event::Reload { ok, message });
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

/// What changed, or why the configuration was rejected.
fn activate(gateway: &Gateway, loaded: Loaded) -> Result<Vec<String>, Vec<String>> {
    let Loaded { mut config, warnings } = loaded;
    let old = gateway.active_config().snapshot.clone();
    let moved = keep_listener(&old.config, &mut config)?;
    keep_redis(&old.config, &config)?;
    let mut messages = config::changes(&old.config, &config);
    let active = ActiveConfig::new(config, Some(&old), &gateway.events, &gateway.tasks)
        .map_err(|error| vec![error])?;
    gateway.replace(active);
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

/// Keeps the old address, with a warning if the new configuration has another.
///
/// The file was checked for the address in it: one for loopback alone may omit keys and token, which would
/// leave a gateway open that still listens to other machines.
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

/// Gateways that count in two Redis servers count wrongly, and running requests are registered in the old one.
fn keep_redis(old: &Config, new: &Config) -> Result<(), Vec<String>> {
    if old.redis.url == new.redis.url {
        return Ok(());
    }
    Err(vec![
        "redis.url: a reload cannot change it, because running requests are counted there; restart the gateway"
            .to_owned(),
    ])
}

#[cfg(test)]
mod tests;
