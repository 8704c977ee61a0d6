//! Connects to Redis, keeps the connection up, and sends heartbeats.
//!
//! The only task that connects. It never gives up, and logs an outage once.

#[cfg(test)]
mod tests;

use std::{cmp::min, sync::Arc, sync::LazyLock, time::Duration};

use bytes::Bytes;
use redis::{
    AsyncConnectionConfig, Pipeline, PushInfo, PushKind, RedisError, Script, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    select,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{ClientInner, GatewayId, RedisConnection},
    membership::MEMBER_TTL,
};

/// Timeout of a connection and its handshake.
const CONNECT: Duration = Duration::from_secs(1);
/// Delay between two attempts to connect: at first,
const MIN_BACKOFF: Duration = Duration::from_millis(50);
/// and at most.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Interval of heartbeats, and the timeout of each.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Messages sent in one batch.
const AT_ONCE: usize = 64;

/// A sorted set: when each gateway expires, in milliseconds of the server.
const GATEWAYS: &str = "concierge:gateways";

/// A heartbeat: returns the number of gateways, the server's time, and whether this gateway was registered.
static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local now = time[1] * 1000 + math.floor(time[2] / 1000)
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
         local new = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
         return { redis.call('ZCARD', KEYS[1]), now, new }",
    )
});

/// Keeps a connection for as long as the process runs.
pub(crate) async fn run(redis: Arc<ClientInner>) {
    let mut pause = MIN_BACKOFF;
    loop {
        match timeout(CONNECT, connect(&redis)).await {
            Ok(Ok(line)) => {
                pause = MIN_BACKOFF;
                redis.connected(&line);
                let why = serve(&redis, &line).await;
                redis.disconnect(&line, &why);
            }
            Ok(Err(error)) => redis.away(&error.to_string()),
            Err(_) => redis.away(&format!("no connection within {CONNECT:?}")),
        }
        sleep(pause).await;
        pause = min(2 * pause, MAX_BACKOFF);
    }
}

/// The commands that remove this gateway from the set.
pub(crate) fn deregister(id: &GatewayId) -> Pipeline {
    let mut pipe = redis::pipe();
    pipe.zrem(GATEWAYS, id.as_str()).ignore();
    pipe
}

async fn connect(redis: &Arc<ClientInner>) -> Result<Arc<RedisConnection>, RedisError> {
    let stream = redis.address.dial().await?;
    let heard = redis.clone();
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_push_sender(move |push| {
        read_messages(&heard, push);
        Ok::<(), ()>(())
    });
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&redis.address.login, stream, config).await?;
    let broken = CancellationToken::new();
    let end = broken.clone();
    redis.tasks.spawn_until_shutdown(async move {
        select! {
            () = driver => end.cancel(),
            () = end.cancelled() => {}
        }
    });
    // If this future is dropped before the connection is in use, the connection must end as well.
    let guard = broken.clone().drop_guard();
    let mut line = RedisConnection { connection, run_id: "".into(), broken };
    line.run_id = run_id(&mut line.connection).await?.into();
    heartbeat(redis, &mut line.connection).await?;
    subscribe(redis, &mut line.connection).await?;
    guard.disarm();
    Ok(Arc::new(line))
}

/// Runs until the connection ends, and returns why.
async fn serve(redis: &Arc<ClientInner>, line: &RedisConnection) -> String {
    let mut connection = line.connection.clone();
    let mut beat = interval(HEARTBEAT_INTERVAL);
    let mut unsent = redis.channels.unsent.lock().await;
    let mut messages = Vec::with_capacity(AT_ONCE);
    loop {
        let said = select! {
            () = line.broken.cancelled() => return "the connection was closed".to_owned(),
            _ = beat.tick() => in_time(heartbeat(redis, &mut connection)).await.map(|known| {
                if !known {
                    redis.forgotten();
                }
            }),
            () = redis.channels.more.notified() => in_time(subscribe(redis, &mut connection)).await,
            _ = unsent.recv_many(&mut messages, AT_ONCE) => {
                in_time(publish(&mut connection, &mut messages)).await
            }
        };
        if let Err(why) = said {
            return why;
        }
    }
}

/// Any command without a reply within one heartbeat means a dead server: while we wait, our own heartbeat is missing.
async fn in_time<T>(said: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match timeout(HEARTBEAT_INTERVAL, said).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {HEARTBEAT_INTERVAL:?}")),
    }
}

/// Sends a heartbeat; false if Redis did not know this gateway.
async fn heartbeat(redis: &ClientInner, connection: &mut MultiplexedConnection) -> Result<bool, RedisError> {
    let begun = Instant::now();
    let mut sign = HEARTBEAT.key(GATEWAYS);
    let sign = sign.arg(redis.id.as_str()).arg(MEMBER_TTL.as_millis() as u64);
    let (gateways, now, new): (usize, i64, u8) = sign.invoke_async(connection).await?;
    redis.counted(gateways);
    redis.set_clock(now, begun);
    Ok(new == 0)
}

/// The random id of the server's process.
async fn run_id(connection: &mut MultiplexedConnection) -> Result<String, RedisError> {
    let said: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
    let id = said.lines().find_map(|line| line.strip_prefix("run_id:"));
    Ok(id.unwrap_or_default().trim().to_owned())
}

async fn subscribe(redis: &ClientInner, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let names = redis.channels.names();
    if names.is_empty() { Ok(()) } else { connection.subscribe(names).await }
}

async fn publish(
    connection: &mut MultiplexedConnection,
    messages: &mut Vec<(String, Bytes)>,
) -> Result<(), RedisError> {
    let mut pipe = redis::pipe();
    for (channel, message) in messages.drain(..) {
        pipe.publish(channel, message.as_ref()).ignore();
    }
    pipe.query_async(connection).await
}

fn read_messages(redis: &ClientInner, push: PushInfo) {
    if let (PushKind::Message, [Value::BulkString(channel), Value::BulkString(message)]) =
        (&push.kind, push.data.as_slice())
    {
        redis.channels.deliver(channel, Bytes::copy_from_slice(message));
    }
}
