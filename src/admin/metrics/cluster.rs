//! Metrics of the state in Redis: whether it is up, and how many gateways share it.

use crate::{
    admin::metrics::plain,
    admission::Admission,
    cluster::{ERRORS, RedisClient},
    telemetry::exposition::MetricsPage,
};

/// Writes them, if Redis is configured.
pub(crate) fn write(page: &mut MetricsPage, redis: &RedisClient, admission: &Admission) {
    let help = "1 if Redis answers, 0 if not.";
    page.gauge("concierge_redis_up", help, plain(f64::from(u8::from(redis.is_up()))));
    let help = "Gateways that share this Redis, including this one; the last known number while Redis is unavailable.";
    page.gauge("concierge_gateways", help, plain(redis.gateways() as f64));
    let counted = redis.meters().errors.read();
    // Includes errors that never happened: Prometheus sees no increase if a series only appears with it.
    let errors = ERRORS.map(|word| {
        let count = counted.iter().find(|(error, _)| *error == word).map_or(0, |(_, count)| *count);
        (vec![("error", word.to_owned())], count)
    });
    page.counter("concierge_redis_errors", "Redis calls that failed, by error.", errors);
    let help = "Slot leases restored in Redis: lost by it, or granted while it was unavailable.";
    page.counter("concierge_leases_restored", help, plain(admission.leases_restored()));
    let help = "Messages to other gateways dropped because the send queue was full.";
    page.counter("concierge_redis_messages_dropped", help, plain(redis.meters().unsent.get()));
}
