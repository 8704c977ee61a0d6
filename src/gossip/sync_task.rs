//! The steps of the task: tell, hear, ask for leave, come and go.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use redis::Script;
use tokio::time::Instant;

use super::{
    CHANNEL, GossipInner, TICKS_PER_COPY,
    message::{Envelope, TargetReport},
    outbox::PendingUpdates,
    probe_lease::{Leaves, UNUSED},
    target_sync::IncomingReport,
};
use crate::{
    cluster::RedisUnavailable,
    upstream::{
        Snapshot, Target,
        health::breaker::{BreakerChange, ProbeLease, ProbeState},
    },
};

/// Reports of one message: few enough that nobody has to read megabytes at a time.
const AT_ONCE: usize = 200;
/// Bytes of a message that is read.
const LARGEST: usize = 4 << 20;
/// A copy is kept for so long.
const KEPT: Duration = Duration::from_secs(10);
/// When somebody else has leave to probe, and we may ask again.
const LEASE_RETRY: Duration = Duration::from_millis(200);

/// Every copy that is still kept, with the milliseconds for which it will be.
static COPIES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local copies = {}
         for _, gateway in ipairs(redis.call('SMEMBERS', KEYS[1])) do
             local key = KEYS[1] .. ':' .. gateway
             local left = redis.call('PTTL', key)
             if left > 0 then
                 copies[#copies + 1] = { redis.call('GET', key), left }
             else
                 redis.call('SREM', KEYS[1], gateway)
             end
         end
         return copies",
    )
});

/// What the task knows from one step to the next.
pub(super) struct SyncTask<'a> {
    peers: &'a GossipInner,
    up: bool,
    ticks: u64,
    number: u64,
    leaves: Leaves,
    /// How much was measured of each target when it was last told.
    told: HashMap<Arc<str>, u64>,
}

impl<'a> SyncTask<'a> {
    pub(super) fn new(peers: &'a GossipInner) -> Self {
        Self { peers, up: false, ticks: 0, number: 0, leaves: Leaves::default(), told: HashMap::new() }
    }

    /// Redis is there, or has gone. Who comes asks what the others know.
    pub(super) async fn cluster_size(&mut self, up: bool, snapshot: &Snapshot) {
        self.up = up;
        self.join(snapshot);
        if !up {
            return self.leaves.lose();
        }
        if self.load_snapshots(snapshot).await.is_ok() {
            let reports = reports(snapshot, |_| true);
            self.publish(reports, true);
        }
    }

    /// Tells at once what has happened.
    pub(super) fn publish_changes(&mut self, notes: &PendingUpdates, snapshot: &Snapshot) {
        if !notes.news.is_empty() {
            let reports = reports(snapshot, |target| notes.news.contains(&target.id));
            self.publish(reports, false);
        }
    }

    /// Tells what was measured since the last time, and again what is out of the ordinary: a message may have been lost.
    pub(super) async fn publish_measurements(&mut self, snapshot: &Snapshot) {
        self.join(snapshot);
        if !self.up {
            return;
        }
        let now = Instant::now();
        let mut told = HashMap::new();
        let reports = reports(snapshot, |target| {
            let (measured, waiting) = target.state.measurements();
            told.insert(target.id.clone(), measured);
            waiting || self.told.get(&target.id) != Some(&measured) || target.state.is_troubled(now)
        });
        self.told = told;
        self.publish(reports, false);
        self.renew_probe_leases(snapshot, now).await;
        if self.ticks.is_multiple_of(TICKS_PER_COPY) {
            self.store_snapshot(snapshot).await;
        }
        self.ticks += 1;
    }

    /// Takes note of what another gateway says.
    pub(super) fn merge(&mut self, message: &Bytes, written: Instant, snapshot: &Snapshot) {
        let readable = (message.len() <= LARGEST).then(|| serde_json::from_slice::<Envelope>(message).ok());
        let Some(message) = readable.flatten() else {
            self.peers.meters.unreadable.inc();
            return;
        };
        if message.gateway == self.peers.me {
            return;
        }
        self.peers.meters.heard.inc();
        let targets: HashMap<Arc<str>, Arc<Target>> =
            configured(snapshot).map(|target| (target.id.clone(), target)).collect();
        let (peer, number) = (message.gateway, message.number);
        for report in message.reports {
            // What is in no model of ours is none of our business.
            let Some(target) = targets.get(&*report.target) else { continue };
            let heard = IncomingReport { peer, number, written, report };
            note(target, target.state.merge(heard, self.peers.me, Instant::now()));
        }
        if message.asks {
            let reports = reports(snapshot, |_| true);
            self.publish(reports, false);
        }
    }

    /// Asks the peers to leave probes to us, for requests that would be those.
    pub(super) async fn request_probe_lease(&mut self, notes: &PendingUpdates, snapshot: &Snapshot) {
        for target in configured(snapshot).filter(|target| notes.wishes.contains(&target.id)) {
            if target.state.probe(Instant::now()) != ProbeState::Due {
                continue;
            }
            let left = self.leaves.acquire(&self.peers.redis, self.peers.me, &target.id).await;
            let now = Instant::now();
            target.state.leave(match left {
                Ok(false) => ProbeLease::Refused(now + LEASE_RETRY),
                // With nobody to ask each gateway probes for itself.
                Ok(true) | Err(RedisUnavailable) => ProbeLease::Granted(now + UNUSED),
            });
        }
    }

    /// Holds what is used, and gives back what is not.
    async fn renew_probe_leases(&mut self, snapshot: &Snapshot, now: Instant) {
        for (id, old) in self.leaves.held(now) {
            let stage = snapshot.find(&id).map(|target| target.state.probe(now));
            let (redis, me) = (&self.peers.redis, self.peers.me);
            match stage {
                Some(ProbeState::Running | ProbeState::Allowed) if old => {
                    self.leaves.acquire(redis, me, &id).await.ok();
                }
                Some(ProbeState::Running | ProbeState::Allowed) => {}
                _ => self.leaves.release(redis, me, &id).await,
            }
        }
    }

    /// Whether there are peers is known to every target, those of a new configuration too.
    fn join(&self, snapshot: &Snapshot) {
        let (outbox, now) = (self.up.then_some(&self.peers.outbox), Instant::now());
        configured(snapshot).for_each(|target| target.state.join(outbox, now));
    }

    /// Publishes `reports`; nothing, if there are none and nothing is asked.
    fn publish(&mut self, reports: Vec<TargetReport>, asks: bool) {
        let mut rest = reports.into_iter().peekable();
        let mut asks = asks;
        while self.up && (asks || rest.peek().is_some()) {
            let reports = rest.by_ref().take(AT_ONCE).collect();
            let message = self.message(reports, asks);
            self.peers.redis.publish(CHANNEL, message);
            self.peers.meters.told.inc();
            asks = false;
        }
    }

    /// Leaves what is known here where gateways find it that come later.
    async fn store_snapshot(&mut self, snapshot: &Snapshot) {
        let copy = self.message(reports(snapshot, |_| true), false);
        let me = self.peers.me.to_string();
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(format!("{CHANNEL}:{me}")).arg(copy.as_ref());
        pipe.arg("PX").arg(KEPT.as_millis() as u64).ignore();
        pipe.sadd(CHANNEL, &me).ignore();
        pipe.pexpire(CHANNEL, 6 * KEPT.as_millis() as i64).ignore();
        // The next one comes soon.
        self.peers.redis.pipe::<()>(&pipe).await.ok();
    }

    async fn load_snapshots(&mut self, snapshot: &Snapshot) -> Result<(), RedisUnavailable> {
        let copies: Vec<(Vec<u8>, u64)> = self.peers.redis.run(&COPIES.key(CHANNEL)).await?;
        let now = Instant::now();
        for (copy, left) in copies {
            let age = KEPT.saturating_sub(Duration::from_millis(left));
            self.merge(&Bytes::from(copy), now.checked_sub(age).unwrap_or(now), snapshot);
        }
        Ok(())
    }

    fn message(&mut self, reports: Vec<TargetReport>, asks: bool) -> Bytes {
        self.number += 1;
        let message = Envelope { gateway: self.peers.me, number: self.number, asks, reports };
        // Numbers and names always serialise.
        Bytes::from(serde_json::to_vec(&message).unwrap_or_default())
    }
}

/// The targets of models: what clients name and the configuration does not is not told of.
fn configured(snapshot: &Snapshot) -> impl Iterator<Item = Arc<Target>> + '_ {
    let mut seen = BTreeSet::new();
    let all = snapshot.models().flat_map(|model| model.targets.iter());
    all.filter(move |target| seen.insert(target.id.clone())).cloned()
}

fn reports(snapshot: &Snapshot, mut which: impl FnMut(&Target) -> bool) -> Vec<TargetReport> {
    let now = Instant::now();
    configured(snapshot).filter(|target| which(target)).map(|target| target.state.report(now)).collect()
}

fn note(target: &Target, change: Option<BreakerChange>) {
    let Some(meters) = &target.meters else { return };
    match change {
        Some(BreakerChange::Opened) => meters.opened.inc(),
        Some(BreakerChange::Closed) => meters.closed.inc(),
        None => return,
    };
}
