//! A target that other gateways know, too: what they say of it is taken as evidence, and they agree on who probes it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{ChangeNotifier, TargetHealth, TargetState};
use crate::upstream::health::{
    breaker::{BreakerChange, ProbeLease, ProbeState},
    peer_evidence::{PeerEvidence, PeerId, ReportedBy},
};

impl TargetState {
    /// From now on there are peers: changes are noted in `notifier`, and a probe needs a lease. `None`: there are none, and
    /// this gateway is on its own.
    pub fn join(&self, notifier: Option<&ChangeNotifier>) {
        let mut health = self.health.lock();
        health.breaker.join(notifier.is_some());
        health.notifier = notifier.cloned();
    }

    /// A number that grows with everything that is measured here, and whether a request waits for its first content.
    pub fn measurements(&self) -> (u64, bool) {
        let health = self.health.lock();
        (health.stats.measurements(), health.stats.waiting() > 0)
    }

    /// Whether something keeps requests away, or is about to.
    pub fn is_troubled(&self, now: Instant) -> bool {
        let health = self.health.lock();
        health.breaker.failing() > 0 || health.ineligible_reason(0, now).is_some()
    }

    /// A request would be the probe, if this gateway had the lease.
    pub fn request_probe(&self) {
        if let Some(notifier) = &self.health.lock().notifier {
            notifier.request_probe(&self.id);
        }
    }

    /// How far it is with a probe.
    pub fn probe(&self, now: Instant) -> ProbeState {
        self.health.lock().breaker.probe(now)
    }

    /// The probe lease was granted or refused.
    pub fn set_probe_lease(&self, lease: ProbeLease) {
        self.health.lock().breaker.set_probe_lease(lease);
    }
}

impl TargetHealth {
    /// Notes for the peers that something has happened to `target`, whose health this is.
    pub(crate) fn notify_change(&self, target: &Arc<str>) {
        if let Some(notifier) = &self.notifier {
            notifier.changed(target);
        }
    }

    /// Takes all that the peers say together, in place of what they said before; `me` is how they know this gateway.
    pub(crate) fn merge(
        &mut self,
        evidence: &PeerEvidence,
        me: PeerId,
        now: Instant,
    ) -> Option<BreakerChange> {
        self.stats.merge(evidence);
        self.cooldown.merge(evidence.cooldown);
        self.headroom.merge(evidence.exhausted);
        self.breaker.merge(evidence, me, now)
    }

    /// The gateway whose report keeps it out; `None` if it is not out, or this gateway knows by itself.
    pub(crate) fn reported_by(&self, now: Instant) -> Option<ReportedBy> {
        let cooldown = || self.cooldown.reported_by(now).or_else(|| self.headroom.reported_by(now));
        let by_cooldown = || cooldown().map(|known| ReportedBy { peer: known.peer, at: known.told });
        self.breaker.reported_by().or_else(by_cooldown)
    }
}
