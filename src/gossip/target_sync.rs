//! The bridge between the reports of gateways and the health of one target.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    message::{
        Age, CooldownMsg, DrainMsg, Figures, Lenient, OutageMsg, ResetMsg, SampleMsg, StreakMsg, TargetReport,
    },
    peer_view::PeerView,
};
use crate::upstream::{
    health::{
        breaker::{BreakerChange, OpenCause},
        peer_evidence::PeerId,
        score::LatencyKind,
    },
    target::{OperatorCommand, TargetHealth, TargetState},
};

/// One message, as it concerns one target.
pub(crate) struct IncomingReport {
    /// The gateway that wrote it.
    pub peer: PeerId,
    /// Its place among those of the same peer.
    pub number: u64,
    /// When it was written, in our own time.
    pub written: Instant,
    /// What it says.
    pub report: TargetReport,
}

/// What the peers say of one target.
pub(crate) struct TargetSync {
    state: Arc<TargetState>,
    view: PeerView,
    /// When this gateway began to listen.
    since: Instant,
}

impl TargetSync {
    /// Nothing was said yet.
    pub(crate) fn new(state: Arc<TargetState>, now: Instant) -> Self {
        Self { state, view: PeerView::default(), since: now }
    }

    /// Whether it is about this target, and not about one of the same name in an earlier configuration.
    pub(crate) fn is_about(&self, state: &Arc<TargetState>) -> bool {
        Arc::ptr_eq(&self.state, state)
    }

    /// A peer reports; `me` is how the peers know this gateway. Returns how that changed the breaker.
    pub(crate) fn merge(
        &mut self,
        incoming: IncomingReport,
        me: PeerId,
        now: Instant,
    ) -> Option<BreakerChange> {
        let state = self.state.clone();
        let mut health = state.health.lock();
        self.follow_reset(&health);
        let IncomingReport { peer, number, written, report } = incoming;
        if !self.view.merge(peer, number, report, written) {
            return None;
        }
        let command = self.apply_commands(&mut health, now);
        let change = health.merge(&self.view.evidence(), me, now);
        let (reported, cause) = (health.state(now), health.breaker.cause());
        drop(health);
        if let Some(what) = command {
            state.publish_state(reported.as_str(), format!("{what} by an operator at gateway {peer}"));
        }
        if let Some(change) = change {
            log_change(&state, change, cause, peer);
        }
        change
    }

    /// Nothing counts that is from before an operator's reset at this gateway.
    fn follow_reset(&mut self, health: &TargetHealth) {
        let reset = health.reset_command.filter(|command| command.local).map(|command| command.at);
        if let Some(at) = reset.filter(|at| self.view.not_before() < Some(*at)) {
            self.view.forget_before(at);
        }
    }

    /// What operators have ordered at other gateways counts here if it is newer than what was ordered before. A reset that
    /// was ordered before this gateway came is none: there is nothing to forget.
    fn apply_commands(&mut self, health: &mut TargetHealth, now: Instant) -> Option<&'static str> {
        let (reset, drain) = (self.view.reset(), self.view.drain());
        let mut done = None;
        let new = |command: &_| OperatorCommand::supersedes(*command, health.reset_command);
        if let Some(command) = reset.filter(|command| self.since < command.at).filter(new) {
            health.forget(health.stats.emptied());
            health.reset_command = Some(command);
            self.view.forget_before(now);
            done = Some("reset");
        }
        let Some((command, drained)) = drain else { return done };
        if command.supersedes(health.drain_command) {
            health.drain_command = Some(command);
            let changed = std::mem::replace(&mut health.drained, drained) != drained;
            done = changed.then_some(if drained { "drained" } else { "resumed" }).or(done);
        }
        done
    }
}

fn log_change(state: &TargetState, change: BreakerChange, cause: Option<OpenCause>, peer: PeerId) {
    let id = &state.id;
    match change {
        BreakerChange::Opened => {
            let reason = cause.map(|cause| cause.to_string()).unwrap_or_default();
            tracing::warn!(target_id = %id, gateway = %peer, %reason, "circuit breaker opened on a peer's report");
            state.publish_state("open", format!("tripped by gateway {peer}: {reason}"));
        }
        BreakerChange::Closed => {
            tracing::info!(target_id = %id, gateway = %peer, "circuit breaker closed on a peer's report");
            state.publish_state("closed", format!("the probe of gateway {peer} succeeded"));
        }
    }
}

/// All that gateway `me` knows by itself of the target with this state.
pub(crate) fn report(state: &TargetState, me: PeerId, now: Instant) -> TargetReport {
    let health = state.health.lock();
    // A gateway that comes later is to know of a drain even when the gateway is gone at which it was ordered.
    let (drain, drained) = (health.drain_command, health.drained);
    let reset = health.reset_command.filter(|command| command.local);
    let figures = |kind| Figures {
        silence: health.stats.own_silence(kind, now).map(|since| Age::since(since, now)).into(),
    };
    TargetReport {
        target: state.id.to_string(),
        state: Lenient(Some(health.breaker.serial())),
        streak: health.breaker.own_streak(me).map(|streak| StreakMsg::new(streak, now)).into(),
        outage: health.breaker.own_outage(me).map(|outage| OutageMsg::new(outage, now)).into(),
        recovered: health.breaker.own_recovery().map(|at| Age::since(at, now)).into(),
        cooldown: health.cooldown.own(me, now).map(|told| CooldownMsg::new(told, now)).into(),
        exhausted: health.headroom.own(me, now).map(|told| CooldownMsg::new(told, now)).into(),
        drain: drain
            .map(|command| DrainMsg { id: command.id, drained, age: Age::since(command.at, now) })
            .into(),
        reset: reset.map(|command| ResetMsg { id: command.id, age: Age::since(command.at, now) }).into(),
        rate: health.stats.own_rate().map(|rate| SampleMsg::new(rate, now)).into(),
        kinds: [LatencyKind::Stream, LatencyKind::Whole].into_iter().map(figures).collect(),
    }
}
