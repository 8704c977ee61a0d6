//! What a breaker tells other gateways, and what it makes of their word.
//!
//! A peer's word is evidence and no command: of two things seen, the later one counts, and what was seen here is as good
//! as what was seen elsewhere. An outage that a peer saw before our own last success opens nothing; but then it takes one
//! failure of our own, and not a row of them, to believe the peer. Only what was seen here is told, so no word comes back
//! as an echo.

use std::time::Duration;

use tokio::time::Instant;

use super::{Breaker, BreakerChange, OpenState};
use crate::{
    gossip::{
        message::{self, Age, FailureStreak, PeerId, Remaining},
        peer_view::{self, PeerSuspicion, PeerView},
    },
    upstream::exchange::outcome::{BreakerSignal, Outcome},
};

/// A probe that needs the peers' leave has it by then, or somebody else sends it.
const LEASE_REQUEST_TTL: Duration = Duration::from_millis(20);

/// Whether this gateway may send the probe of a target that all gateways would like to probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProbeLease {
    /// Nobody was asked.
    #[default]
    None,
    /// It may, until then.
    Granted(Instant),
    /// Somebody else does; ask again then.
    Refused(Instant),
}

/// What a breaker knows of other gateways, and what they need to know of it.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerEvidence {
    /// There is a place where gateways agree on who probes; without one each does.
    clustered: bool,
    leave: ProbeLease,
    last_success: Option<Instant>,
    last_failure: Option<Instant>,
    /// The last recovery was seen here.
    own_recovery: bool,
    /// A peer's outage that our own success spoke against.
    rejected_outage: Option<peer_view::PeerOutage>,
    suspicion: Option<PeerSuspicion>,
    /// The longest row of failures of one peer since our own last success.
    peer_row: u32,
}

impl PeerEvidence {
    /// Something was seen here.
    pub(super) fn witness(&mut self, outcome: Outcome, now: Instant) {
        match outcome.counts_for_breaker() {
            BreakerSignal::Success => {
                self.last_success = self.last_success.max(Some(now));
                self.peer_row = 0;
            }
            BreakerSignal::Failure | BreakerSignal::RatioOnly => {
                self.last_failure = self.last_failure.max(Some(now))
            }
            BreakerSignal::Neutral => {}
        }
    }

    /// Our own probe succeeded.
    pub(super) fn recovered(&mut self) {
        self.own_recovery = true;
    }

    /// Whether nobody needs to be asked, or was.
    pub(super) fn may_probe(&self, now: Instant) -> bool {
        !self.clustered || matches!(self.leave, ProbeLease::Granted(until) if now < until)
    }

    /// The longest row of failures of one peer since our own last success. Of one alone: in a large fleet some peer has
    /// always just failed.
    pub(super) fn peer_failure_streak(&self) -> u32 {
        self.peer_row
    }

    /// A leave is for one probe.
    pub(super) fn probes(&mut self) {
        self.leave = ProbeLease::None;
    }

    /// The peer's outage that one failure of our own confirms.
    pub(super) fn confirmed(&mut self, now: Instant) -> Option<peer_view::PeerOutage> {
        self.rejected_outage.take().filter(|outage| now < outage.until)
    }

    /// What is left of it after an operator's reset.
    pub(super) fn after_reset(&self) -> Self {
        Self { clustered: self.clustered, ..Self::default() }
    }
}

/// How a breaker stands to a probe, for who asks the peers' leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeState {
    /// None is due, or somebody else sends it.
    None,
    /// One is due, and nobody was asked.
    Due,
    /// It may be sent.
    Allowed,
    /// It is under way.
    Running,
}

impl Breaker {
    /// Whether gateways agree from now on who probes.
    pub fn join(&mut self, joined: bool) {
        self.peers.clustered = joined;
    }

    /// The answer of the peers.
    pub fn set_probe_lease(&mut self, leave: ProbeLease) {
        self.peers.leave = leave;
    }

    /// How it stands to a probe.
    pub fn probe(&self, now: Instant) -> ProbeState {
        let Some(outage) = &self.open_state else { return ProbeState::None };
        match self.peers.leave {
            _ if outage.probing => ProbeState::Running,
            _ if now < outage.until => ProbeState::None,
            ProbeLease::Granted(until) if now < until => ProbeState::Allowed,
            ProbeLease::Refused(until) if now < until => ProbeState::None,
            _ => ProbeState::Due,
        }
    }

    /// Whether a probe is due, and only the peers have yet to leave it to us.
    pub fn awaits_probe_lease(&self, now: Instant) -> bool {
        self.peers.clustered && self.probe(now) == ProbeState::Due
    }

    /// When it is next tried, if that is known: while a probe is under way nobody knows how long it will take.
    pub fn back_at(&self, now: Instant) -> Option<Instant> {
        let asking = self.awaits_probe_lease(now).then_some(now + LEASE_REQUEST_TTL);
        self.retry_at().filter(|at| *at > now).or(asking)
    }

    /// Who saw what it is open for; `None`: this gateway, or it is closed.
    pub fn reported_by(&self) -> Option<(PeerId, Instant)> {
        let outage = self.open_state.as_ref()?;
        Some((outage.reported_by?, outage.opened))
    }

    /// The peer that has just seen the target fail and goes on asking it; others are preferred meanwhile.
    pub fn suspected(&self, now: Instant) -> Option<PeerSuspicion> {
        let suspicion = self.peers.suspicion.filter(|_| self.open_state.is_none())?;
        let lasts = now < suspicion.until && self.peers.last_success < Some(suspicion.failed);
        lasts.then_some(suspicion)
    }

    /// Failures in a row while closed: what peers are told at once when it changes.
    pub fn failing(&self) -> u32 {
        if self.open_state.is_some() { 0 } else { self.failure_streak() }
    }

    /// A number that no two states of what was seen here have in common.
    pub fn serial(&self) -> u64 {
        (self.epoch << 16) | u64::from(self.backoff_exponent & 0xffff)
    }

    /// What was seen here.
    pub fn report(&self, now: Instant) -> (Option<FailureStreak>, Option<message::OutageMsg>, Option<Age>) {
        let company = &self.peers;
        let last = company.last_failure.filter(|_| self.failing() > 0);
        let row = last.map(|at| FailureStreak { failures: self.failing(), age: Age::of(at, now) });
        let own = self.open_state.as_ref().filter(|outage| outage.reported_by.is_none());
        let outage = own.map(|outage| message::OutageMsg {
            age: Age::of(outage.opened, now),
            left: Remaining::until(outage.until, now),
            rests: self.backoff_exponent,
            cause: outage.cause,
        });
        let back = self.recovered_at.filter(|_| company.own_recovery && self.open_state.is_none());
        (row, outage, back.map(|at| Age::of(at, now)))
    }

    /// Takes all that the peers say together; `me` is how they know this gateway.
    pub fn merge(&mut self, said: &PeerView, me: PeerId, now: Instant) -> Option<BreakerChange> {
        self.peers.suspicion = said.suspect(self.peers.last_success, (self.failing() > 0).then_some(me));
        self.peers.peer_row = said.failure_streak(self.peers.last_success, now);
        let (outage, back) = (said.outage(), said.recovered_at());
        match outage.filter(|outage| back < Some(outage.opened)) {
            Some(outage) => self.merge_outage(outage, now),
            None => self.merge_recovery(back?),
        }
    }

    fn merge_outage(&mut self, heard: peer_view::PeerOutage, now: Instant) -> Option<BreakerChange> {
        let success = self.peers.last_success.max(self.recovered_at);
        let ours = self.open_state.as_ref();
        if success >= Some(heard.opened) {
            self.peers.rejected_outage = ours.is_none().then_some(heard);
            return None;
        }
        if ours.is_some_and(|ours| ours.probing || ours.opened >= heard.opened) {
            return None;
        }
        self.adopt(heard, now);
        Some(BreakerChange::Opened)
    }

    /// The same rest as the peer's, and the back-off goes on from there whoever probes next.
    pub(super) fn adopt(&mut self, heard: peer_view::PeerOutage, now: Instant) {
        let until = heard.until.min(now + self.config.open_max.max(self.config.open_min) * 2);
        let outage =
            OpenState { reported_by: Some(heard.peer), ..OpenState::new(until, heard.cause, heard.opened) };
        self.backoff_exponent = self.backoff_exponent.max(heard.rests.min(32));
        self.peers.leave = ProbeLease::None;
        match &mut self.open_state {
            // The same outage goes on: what is under way belongs to it.
            Some(ours) => {
                *ours = OpenState { health_check_contradicted: ours.health_check_contradicted, ..outage }
            }
            None => self.open(outage),
        }
    }

    fn merge_recovery(&mut self, back: Instant) -> Option<BreakerChange> {
        self.peers.rejected_outage = None;
        self.open_state.as_ref().filter(|ours| ours.opened < back)?;
        self.close(back);
        self.peers.own_recovery = false;
        Some(BreakerChange::Closed)
    }
}
