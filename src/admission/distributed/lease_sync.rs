//! Tells Redis what this gateway holds (a renewal), and what it holds no more (a release).
//!
//! Both come from one task, in turns: a renewal that was written after the release of the same lease would make a lease that
//! nobody holds. A release that may not have arrived is sent again; that it arrives twice does no harm.

use std::{
    sync::{Arc, LazyLock, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::{Script, ScriptInvocation};
use tokio::{
    select,
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval},
};

use super::lease_table::{LEASE, LeaseTable, ReleaseMessage};
use crate::{cluster::RedisUnavailable, config::OnError, tasks::Tasks};

/// Between two heartbeats. Redis notices by them that nobody could renew anything for long.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Between two renewals of all that is held.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long nobody gets anything from a Redis that knows nothing, where limits must never be exceeded: as long as gateways
/// that are connected need to be back. A gateway that has just started cannot know whether there are any.
const MIN_CLOSED: Duration = Duration::from_millis(1500);
/// Releases, or leases, in one message: a script holds up all others.
const AT_ONCE: usize = 256;

static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("generation.lua"), include_str!("release.lua"))));
static RENEW: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("generation.lua"), include_str!("renew.lua"))));

/// One line of a renewal.
enum SyncLine {
    Slot(String, String),
    Tokens(String, String, u64),
}

/// Starts the task that speaks for `table`, and the one that wakes its waiters.
pub(crate) fn start(table: &Arc<LeaseTable>, tasks: &Tasks) {
    let synced = table.clone();
    tasks.spawn_restarting("leases", move || run(synced.clone()));
    let (woken, channel) = (Arc::downgrade(table), format!("concierge:wake:{}", table.redis.id()));
    tasks.spawn_restarting("wake", move || wake_waiters(woken.clone(), channel.clone()));
}

async fn run(table: Arc<LeaseTable>) {
    let mut heartbeat = interval(SYNC_INTERVAL);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = table.redis.watch();
    let mut renewed = None;
    loop {
        let mut all = false;
        let mut renews = true;
        select! {
            () = table.release_queued.notified() => renews = false,
            _ = heartbeat.tick() => {}
            () = table.due.notified() => all = true,
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                all = true;
            }
        }
        if !table.redis.is_up() {
            continue;
        }
        flush_releases(&table).await;
        all |= renewed.is_none_or(|at: Instant| at.elapsed() >= RENEWAL);
        if renews && let Ok(was_all) = renew(&table, all).await {
            renewed = if was_all { Some(Instant::now()) } else { renewed };
        }
    }
}

/// Sends the releases, in batches.
pub(crate) async fn flush_releases(table: &LeaseTable) {
    let _turn = table.turn.lock().await;
    loop {
        let batch: Vec<ReleaseMessage> = {
            let mut releases = table.releases.lock();
            let count = releases.len().min(AT_ONCE);
            releases.drain(..count).collect()
        };
        if batch.is_empty() {
            return;
        }
        let mut call = RELEASE.key("concierge:total");
        batch.iter().for_each(|release| release.write(table, &mut call));
        if table.redis.run::<u8>(&call).await.is_err() {
            let mut releases = table.releases.lock();
            batch.into_iter().rev().for_each(|release| releases.push_front(release.sent_again()));
            return;
        }
    }
}

/// Renews what is held: what was not reported yet, or everything. Answers whether it was everything.
async fn renew(table: &LeaseTable, mut all: bool) -> Result<bool, RedisUnavailable> {
    let _turn = table.turn.lock().await;
    // A generation may begin meanwhile.
    for _ in 0..3 {
        let lines = lines(table, all);
        let mut generations = Vec::new();
        let mut chunks = lines.chunks(AT_ONCE).peekable();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let last = chunks.peek().is_none();
            generations.push(send_renewal(table, chunk, all && last).await?);
            if last {
                break;
            }
        }
        let generation = generations[0];
        let known = all || generation == table.generation.load(Relaxed);
        if known && generations.iter().all(|other| *other == generation) {
            table.generation.store(generation, Relaxed);
            return Ok(all);
        }
        all = true;
    }
    Ok(false)
}

fn lines(table: &LeaseTable, all: bool) -> Vec<SyncLine> {
    let mut lines = Vec::new();
    for (number, held) in table.leases.lock().iter_mut() {
        if all || !held.reported {
            held.reported = true;
            lines.push(SyncLine::Slot(held.what.prefix(), table.id(*number)));
        }
    }
    for (number, held) in table.holds.lock().iter_mut() {
        if all || !held.reported {
            held.reported = true;
            let (user, tokens) = held.what;
            lines.push(SyncLine::Tokens(format!("concierge:u:{user}"), table.id(*number), tokens));
        }
    }
    lines
}

/// Answers in which generation it arrived.
async fn send_renewal(
    table: &LeaseTable,
    lines: &[SyncLine],
    was_all: bool,
) -> Result<i64, RedisUnavailable> {
    let run_id = table.redis.run_id().ok_or(RedisUnavailable)?;
    let least = if table.redis.on_error() == OnError::Closed { MIN_CLOSED } else { Duration::ZERO };
    let mut call = RENEW.key("concierge:era");
    call.key("concierge:total");
    call.arg(table.redis.id().as_str()).arg(&*run_id).arg(table.redis.latest()).arg(LEASE.as_millis() as u64);
    call.arg(u8::from(was_all)).arg(table.redis.gateways()).arg(least.as_millis() as u64);
    for line in lines {
        match line {
            SyncLine::Slot(key, id) => call.arg("slot").arg(key).arg(id),
            SyncLine::Tokens(key, id, tokens) => call.arg("tokens").arg(key).arg(id).arg(tokens),
        };
    }
    let (in_time, began, _open, anew, now): (u8, i64, u8, u64, i64) = table.redis.run(&call).await?;
    if in_time == 0 {
        table.redis.set_clock(now);
        return Err(RedisUnavailable);
    }
    table.restored.inc_by(anew);
    Ok(began)
}

impl ReleaseMessage {
    fn write(&self, table: &LeaseTable, call: &mut ScriptInvocation<'_>) {
        match self {
            Self::Slot { key, number } => call.arg("slot").arg(key.prefix()).arg(table.id(*number)),
            Self::Tokens { user, number, held, spent, limit, again } => {
                call.arg("tokens").arg(format!("concierge:u:{user}")).arg(table.id(*number)).arg(held);
                call.arg(spent).arg(limit).arg(u8::from(*again))
            }
        };
    }

    /// It may have arrived already.
    fn sent_again(self) -> Self {
        match self {
            Self::Tokens { user, number, held, spent, limit, .. } => {
                Self::Tokens { user, number, held, spent, limit, again: true }
            }
            released @ Self::Slot { .. } => released,
        }
    }
}

/// Wakes the waiters that Redis names. It is a hint: a waiter that is not woken asks again by itself.
async fn wake_waiters(table: Weak<LeaseTable>, channel: String) {
    let Some(mut heard) = table.upgrade().map(|table| table.redis.subscribe(&channel)) else { return };
    loop {
        match heard.recv().await {
            Ok(number) => {
                let number = std::str::from_utf8(&number).ok().and_then(|number| number.parse().ok());
                let (Some(table), Some(number)) = (table.upgrade(), number) else { continue };
                let wake = table.waiting.lock().wake_handles.get(&number).cloned();
                wake.iter().for_each(|wake| wake.notify_one());
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
