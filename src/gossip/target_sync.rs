//! What a target tells the peers of itself, and what it makes of their word: the bridge from [`TargetReport`]s to its facts.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    message::{Age, Drain, PeerId, Reset, TargetReport},
    outbox::Outbox,
    peer_view::PeerView,
};
use crate::upstream::{
    health::breaker::{BreakerChange, OpenCause, ProbeLease, ProbeState},
    target::{TargetHealth, TargetState},
};

/// What a target knows of the peers.
#[derive(Default)]
pub(crate) struct PeerLink {
    said: PeerView,
    /// Where to leave a note for them; `None` while there are none.
    outbox: Option<Outbox>,
    /// When there first were any.
    since: Option<Instant>,
    /// An operator's latest orders, given here or on another gateway.
    drain: Option<OperatorCommand>,
    reset: Option<OperatorCommand>,
}

/// An operator's order.
#[derive(Clone, Copy)]
struct OperatorCommand {
    at: Instant,
    /// Tells it from others of its kind.
    id: u64,
    /// It was given here: the peers are told of it.
    here: bool,
}

impl OperatorCommand {
    fn here(now: Instant) -> Self {
        Self { at: now, id: fastrand::u64(..), here: true }
    }
}

/// Whose word it is that keeps a target out, and how old that is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReportedBy {
    /// The gateway that saw it.
    pub peer: PeerId,
    /// When.
    pub at: Instant,
}

/// One message, as it concerns one target.
pub struct IncomingReport {
    /// Who wrote it.
    pub peer: PeerId,
    /// Its place among those of the same peer.
    pub number: u64,
    /// When it was written, in our own time.
    pub written: Instant,
    /// What it says.
    pub report: TargetReport,
}

impl PeerLink {
    /// An operator has it taken out here, or in.
    pub fn drained(&mut self, now: Instant) {
        self.drain = Some(OperatorCommand::here(now));
    }

    /// An operator has everything forgotten here.
    pub fn reset(&mut self, now: Instant) {
        self.said.forget(now);
        self.reset = Some(OperatorCommand::here(now));
    }

    /// Leaves a note that something has happened.
    pub fn log_change(&self, target: &Arc<str>) {
        if let Some(outbox) = &self.outbox {
            outbox.changed(target);
        }
    }

    /// Leaves a note that a request would be the probe.
    pub fn request_probe(&self, target: &Arc<str>) {
        if let Some(outbox) = &self.outbox {
            outbox.request_probe(target);
        }
    }
}

impl TargetHealth {
    /// Whose word keeps it out; `None` if it is not out, or we know it ourselves.
    pub fn reported_by(&self, now: Instant) -> Option<ReportedBy> {
        let breaker = self.breaker.reported_by().map(|(peer, at)| ReportedBy { peer, at });
        let hold = || self.cooldown.reported_by(now).or_else(|| self.headroom.reported_by(now));
        breaker.or_else(|| hold().map(|hold| ReportedBy { peer: hold.peer, at: hold.told }))
    }
}

impl TargetState {
    /// From now on there are peers: notes for them go into `outbox`, and they are asked before a probe. `None`: there are
    /// none, and each gateway is on its own.
    pub fn join(&self, outbox: Option<&Outbox>, now: Instant) {
        let mut health = self.health.lock();
        health.breaker.join(outbox.is_some());
        health.peer_link.outbox = outbox.cloned();
        health.peer_link.since.get_or_insert(now);
    }

    /// All that is known here, for the peers.
    pub fn report(&self, now: Instant) -> TargetReport {
        let health = self.health.lock();
        let (row, outage, back) = health.breaker.report(now);
        let (rate, kinds) = health.stats.report(now);
        // Who comes later is to hear of a drain also when the gateway is gone at which it was ordered.
        let (drain, drained) = (health.peer_link.drain, health.drained);
        let reset = health.peer_link.reset.filter(|order| order.here);
        TargetReport {
            target: self.id.to_string(),
            state: health.breaker.serial(),
            row,
            outage,
            back,
            rest: health.cooldown.report(now),
            full: health.headroom.report(now),
            drain: drain.map(|order| Drain { id: order.id, drained, age: Age::of(order.at, now) }),
            reset: reset.map(|order| Reset { id: order.id, age: Age::of(order.at, now) }),
            rate,
            kinds,
        }
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

    /// A peer speaks of this target; `me` is how the peers know this gateway. Returns how its word changed the breaker.
    pub fn merge(&self, heard: IncomingReport, me: PeerId, now: Instant) -> Option<BreakerChange> {
        let mut guard = self.health.lock();
        let health = &mut *guard;
        let IncomingReport { peer, number, written, report } = heard;
        if !health.peer_link.said.merge(peer, number, report, written) {
            return None;
        }
        let order = health.apply_command(now);
        let said = &health.peer_link.said;
        health.stats.merge(said);
        health.cooldown.merge(said.rest());
        health.headroom.merge(said.full());
        let change = health.breaker.merge(said, me, now);
        let (state, cause) = (health.state(now), health.breaker.cause());
        drop(guard);
        if let Some(what) = order {
            self.publish_state(state.as_str(), format!("{what} by an operator at gateway {peer}"));
        }
        if let Some(change) = change {
            self.log_peer_report(change, cause, peer);
        }
        change
    }

    fn log_peer_report(&self, change: BreakerChange, cause: Option<OpenCause>, peer: PeerId) {
        let id = &self.id;
        match change {
            BreakerChange::Opened => {
                let reason = cause.map(|cause| cause.to_string()).unwrap_or_default();
                tracing::warn!(target_id = %id, gateway = %peer, %reason, "a target is left alone, says another gateway");
                self.publish_state("open", format!("tripped by gateway {peer}: {reason}"));
            }
            BreakerChange::Closed => {
                tracing::info!(target_id = %id, gateway = %peer, "a target is back, says another gateway");
                self.publish_state("closed", format!("the probe of gateway {peer} succeeded"));
            }
        }
    }

    /// A request would be the probe, if the peers leave it to us.
    pub fn probe_request(&self) {
        self.health.lock().peer_link.request_probe(&self.id);
    }

    /// How it stands to a probe.
    pub fn probe(&self, now: Instant) -> ProbeState {
        self.health.lock().breaker.probe(now)
    }

    /// The answer of the peers to a wish.
    pub fn leave(&self, leave: ProbeLease) {
        self.health.lock().breaker.set_probe_lease(leave);
    }
}

impl TargetHealth {
    /// What operators have ordered at other gateways counts here if it is newer than what was ordered before.
    fn apply_command(&mut self, now: Instant) -> Option<&'static str> {
        let (reset, drain) = (self.peer_link.said.reset(), self.peer_link.said.drain());
        let mut done = None;
        if let Some((at, id)) = reset.filter(|(at, id)| self.peer_link.is_new_reset(*at, *id)) {
            let live = self.stats.emptied();
            self.forget(live);
            self.peer_link.said.forget(now);
            self.peer_link.reset = Some(OperatorCommand { at, id, here: false });
            done = Some("reset");
        }
        let Some((at, id, drained)) = drain else { return done };
        if self.peer_link.drain.is_none_or(|order| order.id != id && order.at < at) {
            self.peer_link.drain = Some(OperatorCommand { at, id, here: false });
            let changed = std::mem::replace(&mut self.drained, drained) != drained;
            done = changed.then_some(if drained { "drained" } else { "resumed" }).or(done);
        }
        done
    }
}

impl PeerLink {
    /// An order that was given before we came is none to us: there is nothing to forget.
    fn is_new_reset(&self, at: Instant, id: u64) -> bool {
        self.since < Some(at) && self.reset.is_none_or(|order| order.id != id && order.at < at)
    }
}
