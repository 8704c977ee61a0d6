//! A new configuration at run time: build, check, swap, retire.
//!
//! A reload that fails changes nothing. It cannot change the listening address: until a restart, the checks apply to the
//! address on which the gateway really listens. Nor can it change the shared Redis.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use crate::{
    admin::Reloaded,
    admission::Admission,
    cluster::RedisClient,
    config::{self, Config, Loaded},
    events::{Event, Events},
    memory::service::MemoryService,
    server::active_config::{ActiveConfig, CurrentConfig},
    tasks::Tasks,
    telemetry::metrics::GatewayMeters,
};

/// All that a new configuration changes.
pub(crate) struct Reloader {
    /// The file; `None` in the demo.
    pub path: Option<PathBuf>,
    /// For the tasks of new targets.
    pub tasks: Tasks,
    /// What is in force.
    pub config: CurrentConfig,
    /// Slots and limits.
    pub admission: Arc<Admission>,
    /// Memory, if it was on at the start.
    pub memory: Option<Arc<MemoryService>>,
    /// What gateways share, if they do.
    pub redis: Option<RedisClient>,
    /// Told how it went.
    pub events: Events,
    /// Counts reloads.
    pub meters: Arc<GatewayMeters>,
}

impl Reloader {
    /// Reads the file again, and puts it in force if it is good.
    pub(crate) fn reload(&self) -> Reloaded {
        let (ok, messages) = match self.load().and_then(|loaded| self.activate(loaded)) {
            Ok(messages) => (true, messages),
            Err(reasons) => (false, reasons),
        };
        if !ok {
            for reason in &messages {
                tracing::error!("reload refused, the previous configuration stays in force: {reason}");
            }
        }
        self.meters.reloaded(ok);
        self.events.record(Event::Reload { ok, message: messages.join("; ") });
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Reloaded { at, ok, messages }
    }

    fn load(&self) -> Result<Loaded, Vec<String>> {
        let Some(path) = &self.path else {
            return Err(vec!["the demo has no configuration file".to_owned()]);
        };
        config::load(path).map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
    }

    /// What changed, or why it was refused.
    fn activate(&self, loaded: Loaded) -> Result<Vec<String>, Vec<String>> {
        let Loaded { mut config, warnings } = loaded;
        let old = self.config.snapshot();
        let moved = keep_listener(&old.config, &mut config)?;
        keep_redis(&old.config, &config)?;
        let mut messages = config::changes(&old.config, &config);
        let active =
            ActiveConfig::new(config, Some(&old), &self.events, &self.tasks).map_err(|error| vec![error])?;
        self.put_in_force(active);
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

    fn put_in_force(&self, active: ActiveConfig) {
        let (old, new) = (self.config.snapshot(), active.snapshot.clone());
        let (old, new) = (&old.config, &new.config);
        if let Some(redis) = &self.redis {
            redis.set_on_error(new.redis.on_error);
        }
        self.admission.reconfigure(new);
        match &self.memory {
            Some(memory) => memory.reconfigure(&new.memory),
            None if new.memory.enabled => tracing::warn!("memory.enabled: takes effect after a restart"),
            None => {}
        }
        let fixed = |config: &Config| {
            let telemetry = &config.telemetry;
            (telemetry.log.clone(), telemetry.log_format, telemetry.otlp_endpoint.clone())
        };
        if fixed(old) != fixed(new) {
            tracing::warn!("telemetry: log, log_format and otlp_endpoint take effect after a restart");
        }
        self.config.replace(active);
    }
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
