//! Checks targets without traffic and targets that failed, so that their recovery is noticed.
//!
//! A check sends `GET /models` with the key, and reads nothing but the status. It closes no breaker
//! (a success there does not prove that requests are served): it only brings the next half-open probe forward.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::{Snapshot, provider::Provider};
use crate::tls::http_client;

/// Concurrent checks.
const AT_ONCE: usize = 8;
/// Timeout of one check.
const LIMIT: Duration = Duration::from_secs(5);
/// Interval at which disabled checks look whether they have been enabled.
const OFF_TICK: Duration = Duration::from_secs(5);

/// Runs checks for ever; `current` returns the configuration in force.
pub(crate) async fn run(current: impl Fn() -> Arc<Snapshot>) {
    let client = match http_client(LIMIT) {
        Ok(client) => client,
        Err(error) => {
            return tracing::error!(%error, "no health checks: cannot create their client");
        }
    };
    loop {
        let interval = current().config.health.interval;
        sleep(interval.unwrap_or(OFF_TICK).mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        let snapshot = current();
        let now = Instant::now();
        snapshot.providers().for_each(|provider| provider.client.sweep(now));
        if let Some(interval) = snapshot.config.health.interval {
            check_all(&client, &snapshot, interval).await;
        }
    }
}

/// One check per provider, however many of its targets need one.
async fn check_all(client: &reqwest::Client, snapshot: &Snapshot, interval: Duration) {
    let now = Instant::now();
    let idle_since = SystemTime::now() - interval;
    let wanting: Vec<_> =
        snapshot.targets().into_iter().filter(|target| target.state.wants_check(idle_since, now)).collect();
    let mut seen = HashSet::new();
    let providers = wanting.iter().map(|target| target.provider.clone());
    let providers: Vec<_> = providers.filter(|p| seen.insert(p.config.name.clone())).collect();
    let path = snapshot.config.health.path.clone();
    let checks = providers.into_iter().map(|provider| checked(client.clone(), provider, path.clone()));
    let results: Vec<_> = stream::iter(checks).buffer_unordered(AT_ONCE).collect().await;
    for (provider, passed) in results {
        let here = |target: &&Arc<super::Target>| Arc::ptr_eq(&target.provider, &provider);
        wanting.iter().filter(here).for_each(|target| target.state.checked(passed, Instant::now()));
    }
}

async fn checked(client: reqwest::Client, provider: Arc<Provider>, path: String) -> (Arc<Provider>, bool) {
    let passed = check(&client, &provider, &path).await;
    (provider, passed)
}

async fn check(client: &reqwest::Client, provider: &Provider, path: &str) -> bool {
    let request = client.get(provider.config.url_of(path)).headers(provider.headers().clone());
    match request.send().await {
        Ok(response) => response.status().is_success(),
        Err(error) => {
            tracing::debug!(provider = provider.config.name, error = %error.without_url(), "health check failed");
            false
        }
    }
}
