//! What is shown of the state that gateways share: whether there is any, and who shares it.

use crate::{
    admin::metrics::plain,
    admission::Admission,
    cluster::{RedisClient, client::ERRORS},
    telemetry::exposition::MetricsPage,
};

/// Writes it, if there is a Redis.
pub fn write(page: &mut MetricsPage, redis: &RedisClient, admission: &Admission) {
    let help = "Whether Redis answers.";
    page.gauge("concierge_redis_up", help, plain(f64::from(u8::from(redis.is_up()))));
    let help = "Gateways that share the Redis, with this one; the last that was known while it is away.";
    page.gauge("concierge_gateways", help, plain(redis.gateways() as f64));
    let counted = redis.meters().errors.read();
    // Also those that never happened: an increase from nothing at all is none to Prometheus.
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
