//! Metrics of the state in Redis: whether it is up, and how many gateways share it.

use crate::{
    admin::metrics::plain,
    admission::Admission,
    cluster::{ERRORS, RedisClient},
    telemetry::exposition::MetricsPage,
};

/// Writes them, if Redis is configured.
pub fn write(page: &mut MetricsPage, redis: &RedisClient, admission: &Admission) {
    let help = "Whether Redis answers.";
    page.gauge("concierge_redis_up", help, plain(f64::from(u8::from(redis.is_up()))));
    let help = "Gateways that share the Redis, with this one; the last that was known while it is away.";
    page.gauge("concierge_gateways", help, plain(redis.gateways() as f64));
    let counted = redis.meters().errors.read();
    // Includes errors that never happened: Prometheus sees no increase if a series only appears with it.
    let errors = ERRORS.map(|word| {
        let count = counted.iter().find(|(error, _)| *error == word).map_or(0, |(_, count)| *count);
        (vec![("error", word.to_owned())], count)
    });
    page.counter("concierge_redis_errors", "Questions to Redis that got no answer.", errors);
    let help = "Leases of slots that Redis did not know of: lost by it, or begun while it was away.";
    page.counter("concierge_leases_restored", help, plain(admission.leases_restored()));
    let help = "Messages to other gateways that were not sent because too many waited.";
    page.counter("concierge_redis_messages_dropped", help, plain(redis.meters().untold.get()));
}
