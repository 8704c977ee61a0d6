//! What a breaker makes of what other gateways report, and what it reports to them.
//!
//! A report is evidence and no command: of two observations the later one counts, and what was seen here is as good as
//! what was seen elsewhere. An outage that a peer saw before our own last success opens nothing. But then one failure of
//! our own, instead of a streak, confirms the peer. Only what was seen here is reported, so no report comes back as an
//! echo.

use std::time::Duration;

use tokio::time::Instant;

use super::{Breaker, BreakerChange, OpenState};
use crate::upstream::{
    exchange::outcome::{BreakerSignal, Outcome},
    health::peer_evidence::{PeerEvidence, PeerId, PeerOutage, PeerStreak, PeerSuspicion, ReportedBy},
};

/// For so long after a peer's failure others are preferred to the target, for each failure of its streak,
const SUSPICION_TTL: Duration = Duration::from_secs(1);
/// but for no more than these. One failure is nothing much; a streak that goes on slowly, because scores have fallen, is.
const MAX_SUSPICIONS: u32 = 5;
/// A streak of failures that has not gone on for so long says nothing any more.
const STREAK_TTL: Duration = Duration::from_secs(30);
/// By then the lease for a probe has been granted, or another gateway sends the probe.
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
pub(super) struct BreakerPeers {
    /// Gateways agree on which of them probes; without that each does.
    clustered: bool,
    lease: ProbeLease,
    last_success: Option<Instant>,
    last_failure: Option<Instant>,
    /// The last recovery was seen here.
    own_recovery: bool,
    /// A peer's outage that our own success spoke against.
    rejected_outage: Option<PeerOutage>,
    suspicion: Option<PeerSuspicion>,
    /// The longest streak of failures of one peer since our own last success.
    failure_streak: u32,
}

impl BreakerPeers {
    /// Something was seen here.
    pub(super) fn witness(&mut self, outcome: Outcome, now: Instant) {
        match outcome.counts_for_breaker() {
            BreakerSignal::Success => {
                self.last_success = self.last_success.max(Some(now));
                self.failure_streak = 0;
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
        !self.clustered || matches!(self.lease, ProbeLease::Granted(until) if now < until)
    }

    /// The longest streak of failures of one peer since our own last success. Of one alone: among many gateways one has
    /// always just failed.
    pub(super) fn peer_failure_streak(&self) -> u32 {
        self.failure_streak
    }

    /// A lease is for one probe.
    pub(super) fn probes(&mut self) {
        self.lease = ProbeLease::None;
    }

    /// The peer's outage that one failure of our own confirms.
    pub(super) fn confirmed(&mut self, now: Instant) -> Option<PeerOutage> {
        self.rejected_outage.take().filter(|outage| now < outage.until)
    }

    /// What is left of it after an operator's reset.
    pub(super) fn after_reset(&self) -> Self {
        Self { clustered: self.clustered, ..Self::default() }
    }
}

/// How far a breaker is with a probe, for the task that acquires probe leases.
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
    pub(crate) fn join(&mut self, joined: bool) {
        self.peers.clustered = joined;
    }

    /// The probe lease was granted or refused.
    pub(crate) fn set_probe_lease(&mut self, lease: ProbeLease) {
        self.peers.lease = lease;
    }

    /// How far it is with a probe.
    pub(crate) fn probe(&self, now: Instant) -> ProbeState {
        let Some(outage) = &self.open_state else { return ProbeState::None };
        match self.peers.lease {
            _ if outage.probing => ProbeState::Running,
            _ if now < outage.until => ProbeState::None,
            ProbeLease::Granted(until) if now < until => ProbeState::Allowed,
            ProbeLease::Refused(until) if now < until => ProbeState::None,
            ProbeLease::None | ProbeLease::Granted(_) | ProbeLease::Refused(_) => ProbeState::Due,
        }
    }

    /// Whether a probe is due, and only its lease is missing.
    pub(crate) fn awaits_probe_lease(&self, now: Instant) -> bool {
        self.peers.clustered && self.probe(now) == ProbeState::Due
    }

    /// When it is next tried, if that is known: while a probe is under way nobody knows how long it will take.
    pub(crate) fn back_at(&self, now: Instant) -> Option<Instant> {
        let asking = self.awaits_probe_lease(now).then_some(now + LEASE_REQUEST_TTL);
        self.retry_at().filter(|at| *at > now).or(asking)
    }

    /// The gateway that saw what it is open for; `None`: this one, or it is closed.
    pub(crate) fn reported_by(&self) -> Option<ReportedBy> {
        let outage = self.open_state.as_ref()?;
        Some(ReportedBy { peer: outage.reported_by?, at: outage.opened })
    }

    /// The peer that has just seen the target fail and goes on asking it; others are preferred meanwhile.
    pub(crate) fn suspected(&self, now: Instant) -> Option<PeerSuspicion> {
        let suspicion = self.peers.suspicion.filter(|_| self.open_state.is_none())?;
        let lasts = now < suspicion.until && self.peers.last_success < Some(suspicion.failed);
        lasts.then_some(suspicion)
    }

    /// Failures in a row while closed: what is reported to peers at once when it changes.
    pub(crate) fn failing(&self) -> u32 {
        if self.open_state.is_some() { 0 } else { self.failure_streak() }
    }

    /// A number that no two states of what was seen here have in common.
    pub(crate) fn serial(&self) -> u64 {
        (self.epoch << 16) | u64::from(self.backoff_exponent & 0xffff)
    }

    /// The streak of failures seen here, as the peers of `me` see it.
    pub(crate) fn own_streak(&self, me: PeerId) -> Option<PeerStreak> {
        let failures = Some(self.failing()).filter(|failures| *failures > 0)?;
        Some(PeerStreak { peer: me, failures, last: self.peers.last_failure? })
    }

    /// The outage seen here, as the peers of `me` see it.
    pub(crate) fn own_outage(&self, me: PeerId) -> Option<PeerOutage> {
        let outage = self.open_state.as_ref().filter(|outage| outage.reported_by.is_none())?;
        let OpenState { opened, until, cause, .. } = *outage;
        Some(PeerOutage { peer: me, opened, until, backoff_exponent: self.backoff_exponent, cause })
    }

    /// When it was closed by a probe of this gateway; `None` while it is open.
    pub(crate) fn own_recovery(&self) -> Option<Instant> {
        self.recovered_at.filter(|_| self.peers.own_recovery && self.open_state.is_none())
    }

    /// Takes all that the peers say together; `me` is how they know this gateway.
    pub(crate) fn merge(
        &mut self,
        evidence: &PeerEvidence,
        me: PeerId,
        now: Instant,
    ) -> Option<BreakerChange> {
        self.merge_streaks(&evidence.streaks, me, now);
        let back = evidence.recovered_at;
        match evidence.outage.filter(|outage| back < Some(outage.opened)) {
            Some(outage) => self.merge_outage(outage, now),
            None => self.merge_recovery(back?),
        }
    }

    /// Only failures after our own last success count. While we are in a streak of our own, only a peer of a lower number
    /// goes on asking instead of us.
    fn merge_streaks(&mut self, streaks: &[PeerStreak], me: PeerId, now: Instant) {
        let (success, failing) = (self.peers.last_success, self.failing() > 0);
        let streaks = streaks.iter().filter(|streak| success < Some(streak.last));
        let suspicions = streaks.clone().filter(|streak| !failing || streak.peer < me);
        let suspicion = |streak: &PeerStreak| PeerSuspicion {
            until: streak.last + SUSPICION_TTL * streak.failures.min(MAX_SUSPICIONS),
            peer: streak.peer,
            failed: streak.last,
        };
        self.peers.suspicion = suspicions.map(suspicion).max();
        let recent = streaks.filter(|streak| now.saturating_duration_since(streak.last) < STREAK_TTL);
        let longest = recent.map(|streak| streak.failures).max().unwrap_or(0);
        self.peers.failure_streak = longest.min(MAX_SUSPICIONS);
    }

    fn merge_outage(&mut self, reported: PeerOutage, now: Instant) -> Option<BreakerChange> {
        let success = self.peers.last_success.max(self.recovered_at);
        let ours = self.open_state.as_ref();
        if success >= Some(reported.opened) {
            self.peers.rejected_outage = ours.is_none().then_some(reported);
            return None;
        }
        if ours.is_some_and(|ours| ours.probing || ours.opened >= reported.opened) {
            return None;
        }
        self.adopt(reported, now);
        Some(BreakerChange::Opened)
    }

    /// The same open time as the peer's. The back-off goes on from there, whichever gateway probes next.
    pub(super) fn adopt(&mut self, reported: PeerOutage, now: Instant) {
        let until = reported.until.min(now + self.config.open_max.max(self.config.open_min) * 2);
        let outage = OpenState {
            reported_by: Some(reported.peer),
            ..OpenState::new(until, reported.cause, reported.opened)
        };
        self.backoff_exponent = self.backoff_exponent.max(reported.backoff_exponent.min(32));
        self.peers.lease = ProbeLease::None;
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
