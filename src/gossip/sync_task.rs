//! The steps of the task: publish, merge, acquire probe leases, join and lose Redis.

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
    message::{Envelope, Lenient, TargetReport, VERSION},
    probe_lease::{ProbeLeases, UNUSED},
    target_sync::{self, IncomingReport, TargetSync},
};
use crate::{
    cluster::RedisUnavailable,
    upstream::{
        Snapshot, Target,
        health::{
            breaker::{BreakerChange, ProbeLease, ProbeState},
            peer_evidence::PeerId,
        },
        target::PendingUpdates,
    },
};

/// Reports of one message: few enough that no gateway has to read megabytes at a time.
const AT_ONCE: usize = 200;
/// Bytes of a message that is read.
const LARGEST: usize = 4 << 20;
/// A copy is kept for so long.
const KEPT: Duration = Duration::from_secs(10);
/// While another gateway has the probe lease, it is asked for again after this.
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
    leases: ProbeLeases,
    /// What the peers say of each target.
    targets: HashMap<Arc<str>, TargetSync>,
    /// How much was measured of each target when it was last published.
    published: HashMap<Arc<str>, u64>,
}

impl<'a> SyncTask<'a> {
    pub(super) fn new(peers: &'a GossipInner) -> Self {
        Self {
            peers,
            up: false,
            ticks: 0,
            number: 0,
            leases: ProbeLeases::default(),
            targets: HashMap::new(),
            published: HashMap::new(),
        }
    }

    /// Redis is there, or has gone. A gateway that comes asks what the others know.
    pub(super) async fn connection_changed(&mut self, up: bool, snapshot: &Snapshot) {
        self.up = up;
        self.join(snapshot);
        if !up {
            return self.leases.lose();
        }
        if self.load_snapshots(snapshot).await.is_ok() {
            let reports = self.reports(snapshot, |_| true);
            self.publish(reports, true);
        }
    }

    /// Publishes at once what has happened.
    pub(super) fn publish_changes(&mut self, pending: &PendingUpdates, snapshot: &Snapshot) {
        if !pending.changed.is_empty() {
            let reports = self.reports(snapshot, |target| pending.changed.contains(&target.id));
            self.publish(reports, false);
        }
    }

    /// Publishes what was measured since the last time, and again what is out of the ordinary: a message may have been lost.
    pub(super) async fn publish_measurements(&mut self, snapshot: &Snapshot) {
        self.join(snapshot);
        if !self.up {
            return;
        }
        let now = Instant::now();
        let mut published = HashMap::new();
        let reports = self.reports(snapshot, |target| {
            let (measured, waiting) = target.state.measurements();
            published.insert(target.id.clone(), measured);
            waiting || self.published.get(&target.id) != Some(&measured) || target.state.is_troubled(now)
        });
        self.published = published;
        self.publish(reports, false);
        self.renew_probe_leases(snapshot, now).await;
        if self.ticks.is_multiple_of(TICKS_PER_COPY) {
            self.store_snapshot(snapshot).await;
        }
        self.ticks += 1;
    }

    /// Takes what another gateway reports.
    pub(super) fn merge(&mut self, message: &Bytes, written: Instant, snapshot: &Snapshot) {
        let readable = (message.len() <= LARGEST).then(|| serde_json::from_slice::<Envelope>(message).ok());
        let Some(message) = readable.flatten() else {
            self.peers.meters.unreadable.inc();
            return;
        };
        let (peer, me) = (PeerId(message.gateway), self.peers.me);
        if peer == me {
            return;
        }
        self.peers.meters.received.inc();
        let targets: HashMap<Arc<str>, Arc<Target>> =
            configured(snapshot).map(|target| (target.id.clone(), target)).collect();
        let (number, now) = (message.number, Instant::now());
        for report in message.reports.understood() {
            // What is in no model of ours is none of our business.
            let Some(target) = targets.get(&*report.target) else { continue };
            let incoming = IncomingReport { peer, number, written, report };
            count(target, self.sync_of(target, now).merge(incoming, me, now));
        }
        if message.asks.0 == Some(true) {
            let reports = self.reports(snapshot, |_| true);
            self.publish(reports, false);
        }
    }

    /// Acquires the leases for probes that requests would be.
    pub(super) async fn request_probe_lease(&mut self, pending: &PendingUpdates, snapshot: &Snapshot) {
        for target in configured(snapshot).filter(|target| pending.probe_requests.contains(&target.id)) {
            if target.state.probe(Instant::now()) != ProbeState::Due {
                continue;
            }
            let acquired = self.leases.acquire(&self.peers.redis, self.peers.me, &target.id).await;
            let now = Instant::now();
            target.state.set_probe_lease(match acquired {
                Ok(false) => ProbeLease::Refused(now + LEASE_RETRY),
                // With nobody to ask each gateway probes for itself.
                Ok(true) | Err(RedisUnavailable) => ProbeLease::Granted(now + UNUSED),
            });
        }
    }

    /// Holds what is used, and gives back what is not.
    async fn renew_probe_leases(&mut self, snapshot: &Snapshot, now: Instant) {
        for (id, old) in self.leases.held(now) {
            let stage = snapshot.find(&id).map(|target| target.state.probe(now));
            let (redis, me) = (&self.peers.redis, self.peers.me);
            match stage {
                Some(ProbeState::Running | ProbeState::Allowed) if old => {
                    self.leases.acquire(redis, me, &id).await.ok();
                }
                Some(ProbeState::Running | ProbeState::Allowed) => {}
                _ => self.leases.release(redis, me, &id).await,
            }
        }
    }

    /// Every target knows whether there are peers, those of a new configuration too; what was said of others is dropped.
    fn join(&mut self, snapshot: &Snapshot) {
        let (notifier, now) = (self.up.then_some(&self.peers.notifier), Instant::now());
        let mut before = std::mem::take(&mut self.targets);
        for target in configured(snapshot) {
            target.state.join(notifier);
            self.targets.extend(before.remove_entry(&target.id));
            self.sync_of(&target, now);
        }
    }

    fn sync_of(&mut self, target: &Target, now: Instant) -> &mut TargetSync {
        let new = || TargetSync::new(target.state.clone(), now);
        let sync = self.targets.entry(target.id.clone()).or_insert_with(new);
        if !sync.is_about(&target.state) {
            *sync = new();
        }
        sync
    }

    /// Publishes `reports`; nothing, if there are none and nothing is asked.
    fn publish(&mut self, reports: Vec<TargetReport>, asks: bool) {
        let mut rest = reports.into_iter().peekable();
        let mut asks = asks;
        while self.up && (asks || rest.peek().is_some()) {
            let reports = rest.by_ref().take(AT_ONCE).collect();
            let message = self.message(reports, asks);
            self.peers.redis.publish(CHANNEL, message);
            self.peers.meters.published.inc();
            asks = false;
        }
    }

    /// Leaves what is known here where gateways find it that come later.
    async fn store_snapshot(&mut self, snapshot: &Snapshot) {
        let reports = self.reports(snapshot, |_| true);
        let copy = self.message(reports, false);
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
        let message = Envelope {
            version: Lenient(Some(VERSION)),
            gateway: self.peers.me.0,
            number: self.number,
            asks: asks.then_some(true).into(),
            reports: reports.into_iter().collect(),
        };
        // Numbers and names always serialise.
        Bytes::from(serde_json::to_vec(&message).unwrap_or_default())
    }

    fn reports(&self, snapshot: &Snapshot, mut which: impl FnMut(&Target) -> bool) -> Vec<TargetReport> {
        let (me, now) = (self.peers.me, Instant::now());
        let targets = configured(snapshot).filter(|target| which(target));
        targets.map(|target| target_sync::report(&target.state, me, now)).collect()
    }
}

/// The targets of models: what clients name and the configuration does not is not reported.
fn configured(snapshot: &Snapshot) -> impl Iterator<Item = Arc<Target>> + '_ {
    let mut seen = BTreeSet::new();
    let all = snapshot.models().flat_map(|model| model.targets.iter());
    all.filter(move |target| seen.insert(target.id.clone())).cloned()
}

fn count(target: &Target, change: Option<BreakerChange>) {
    let Some(meters) = &target.meters else { return };
    match change {
        Some(BreakerChange::Opened) => meters.opened.inc(),
        Some(BreakerChange::Closed) => meters.closed.inc(),
        None => return,
    };
}
