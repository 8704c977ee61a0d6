//! When the circuit of a target opens, and how it closes again.
//!
//! The algorithm is the unified breaker of linkerd2-proxy (`outbound/src/http/breaker/unified.rs`): it trips on
//! failures in a row or on a ratio counted exactly over a ring of buckets (an average weighted by time would
//! hide a total outage inside one burst), rests with doubling back-off, and lets one probe through. From HAProxy:
//! the slow start after a recovery, never at the start of the process.
//!
//! It must never be closed or opened by news from before its last change: every attempt carries the [`Permit`] it
//! was admitted with, and a pass of an earlier epoch is not listened to.

mod open_cause;
mod peers;
mod success_window;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::{
    open_cause::OpenCause,
    peers::{ProbeLease, ProbeState},
};
use self::{peers::BreakerPeers, success_window::SuccessWindow};
use super::peer_evidence::PeerId;
use crate::{
    config::BreakerConfig as Config,
    upstream::exchange::outcome::{BreakerSignal, Outcome},
};

/// After a recovery the target's share grows over this long.
const RAMP: Duration = Duration::from_secs(10);
/// Its weight at the beginning of the ramp: enough to be asked, too little to be crushed.
const RAMP_FROM: f64 = 0.1;
/// Rests differ by up to this part, so that breakers that tripped together do not probe together.
const JITTER: f64 = 0.2;

/// Whether requests may go to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// Every request may pass.
    Closed,
    /// No request may pass.
    Open,
    /// One may, to see whether the target is back.
    HalfOpen,
}

/// The right to ask the target once. It goes back with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permit {
    epoch: u64,
    probe: bool,
}

impl Permit {
    /// Whether this attempt decides about a half-open breaker.
    pub(crate) fn is_probe(self) -> bool {
        self.probe
    }
}

/// A change worth a log line and an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerChange {
    /// It opened, or stays open after a failed probe.
    Opened,
    /// The target is back.
    Closed,
}

/// The breaker of one target.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    config: Config,
    open_state: Option<OpenState>,
    window: SuccessWindow,
    consecutive_failures: u32,
    /// Answers in a row that broke after their first content. That content is a success and would end the other
    /// row, so a target that always begins and never ends needs a row of its own.
    consecutive_broken: u32,
    /// Rests in a row, the exponent of the back-off. It outlives a short recovery: see [`Breaker::trip`].
    backoff_exponent: u32,
    /// Counts the changes between closed and open, so that late news can be recognised.
    epoch: u64,
    recovered_at: Option<Instant>,
    /// What other gateways say, and what they need to know.
    peers: BreakerPeers,
}

#[derive(Debug, Clone)]
struct OpenState {
    until: Instant,
    probing: bool,
    /// `None`: a peer of another version has a cause that this one does not know.
    cause: Option<OpenCause>,
    /// The failure that opened it, or the probe that failed last.
    opened: Instant,
    /// The gateway that saw it; `None` if that was this one.
    reported_by: Option<PeerId>,
    /// The coming or running probe was brought forward by a health check.
    health_check_hinted: bool,
    /// Such a probe failed: what the health check sees is not what requests meet.
    health_check_contradicted: bool,
}

impl Breaker {
    /// A closed breaker.
    pub(crate) fn new(config: Config) -> Self {
        let window = SuccessWindow::new(config.window);
        Self {
            config,
            open_state: None,
            window,
            consecutive_failures: 0,
            consecutive_broken: 0,
            backoff_exponent: 0,
            epoch: 0,
            recovered_at: None,
            peers: BreakerPeers::default(),
        }
    }

    /// Open until its rest is over, then half-open until a probe has decided.
    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        match &self.open_state {
            None => BreakerState::Closed,
            Some(outage) if now < outage.until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// When the next probe is due, in the past if it is overdue; `None` while closed.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.open_state.as_ref().map(|outage| outage.until)
    }

    /// Why it is not closed.
    pub(crate) fn cause(&self) -> Option<OpenCause> {
        self.open_state.as_ref()?.cause
    }

    /// Whether [`Breaker::admit`] would give a pass; and if so, whether it would be the probe's.
    pub(crate) fn would_admit(&self, now: Instant) -> Option<BreakerState> {
        match &self.open_state {
            None => Some(BreakerState::Closed),
            Some(outage) if now >= outage.until && !outage.probing && self.peers.may_probe(now) => {
                Some(BreakerState::HalfOpen)
            }
            Some(_) => None,
        }
    }

    /// Admits one request: any while closed, one at a time while half-open, none while open.
    ///
    /// Every pass must come back through [`Breaker::on`]; a probe that is given up comes back `Cancelled`.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Permit> {
        let probe = self.would_admit(now)? == BreakerState::HalfOpen;
        if let Some(outage) = &mut self.open_state {
            outage.probing = true;
            self.peers.probes();
        }
        Some(Permit { epoch: self.epoch, probe })
    }

    /// Takes note of an outcome. `others`: another target is eligible; without one the ratio trips nothing.
    pub(crate) fn on(
        &mut self,
        pass: Permit,
        outcome: Outcome,
        others: bool,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<BreakerChange> {
        self.peers.witness(outcome, now);
        if pass.epoch != self.epoch {
            return None;
        }
        if pass.probe {
            return self.on_probe(outcome, now, rng);
        }
        if outcome.counts_for_breaker() == BreakerSignal::Failure
            && let Some(reported) = self.peers.confirmed(now)
        {
            self.adopt(reported, now);
            return Some(BreakerChange::Opened);
        }
        let cause = self.count(outcome, others, now)?;
        self.trip(cause, now, rng);
        Some(BreakerChange::Opened)
    }

    /// An answer came to its end.
    pub(crate) fn on_whole(&mut self, pass: Permit) {
        if pass.epoch == self.epoch {
            self.consecutive_broken = 0;
        }
    }

    /// A health check passed. It only brings the next probe forward: what `GET /models` sees does not prove
    /// that requests are served, and once it has been proved wrong in an outage it is not believed again.
    pub(crate) fn let_probe_now(&mut self, now: Instant) {
        if let Some(outage) = &mut self.open_state
            && !outage.health_check_contradicted
            && now < outage.until
        {
            outage.until = now;
            outage.health_check_hinted = true;
        }
    }

    /// The weight of this target in the choice, 0.1 rising to 1 over ten seconds after a recovery, else 1.
    pub(crate) fn ramp(&self, now: Instant) -> f64 {
        let Some(recovered) = self.recovered_at else { return 1.0 };
        let part = now.saturating_duration_since(recovered).as_secs_f64() / RAMP.as_secs_f64();
        (RAMP_FROM + (1.0 - RAMP_FROM) * part).min(1.0)
    }

    /// The operator's hand: closed, with nothing remembered. News of attempts under way is not listened to.
    pub(crate) fn reset(&mut self) {
        let peers = self.peers.after_reset();
        *self = Self { epoch: self.epoch + 1, peers, ..Self::new(self.config.clone()) };
    }

    /// Counts an outcome while closed, and says whether that was the last straw.
    fn count(&mut self, outcome: Outcome, others: bool, now: Instant) -> Option<OpenCause> {
        match outcome.counts_for_breaker() {
            BreakerSignal::Neutral => return None,
            BreakerSignal::Success => {
                self.consecutive_failures = 0;
                self.window.record(true, now);
                return None;
            }
            BreakerSignal::Failure if matches!(outcome, Outcome::Broken(_)) => self.consecutive_broken += 1,
            BreakerSignal::Failure => self.consecutive_failures += 1,
            BreakerSignal::RatioOnly => {}
        }
        self.window.record(false, now);
        let row = self.failure_streak();
        if row >= self.config.consecutive_failures.max(1) {
            return Some(OpenCause::InARow(row, outcome));
        }
        // With that of a peer; as with the ratio, only where another target can be asked.
        let with_peer = row.saturating_add(self.peers.peer_failure_streak());
        if others && row > 0 && with_peer >= self.config.consecutive_failures.max(1) {
            return Some(OpenCause::InARow(with_peer, outcome));
        }
        let (good, all) = self.window.count(now);
        let too_few_succeed = f64::from(good) < self.config.success_rate * f64::from(all);
        (others && all >= self.config.min_requests && too_few_succeed).then_some(OpenCause::Ratio(good, all))
    }

    /// Failures in a row.
    fn failure_streak(&self) -> u32 {
        self.consecutive_failures.max(self.consecutive_broken)
    }

    /// From closed to open. The back-off goes on where the last outage left it unless the target has been well
    /// for a whole window since: one that flaps is asked ever more rarely.
    fn trip(&mut self, cause: OpenCause, now: Instant, rng: &mut fastrand::Rng) {
        let flapping =
            self.recovered_at.is_some_and(|at| now.saturating_duration_since(at) < self.config.window);
        if !flapping {
            self.backoff_exponent = 0;
        }
        let until = now + self.next_backoff(rng);
        self.open(OpenState::new(until, Some(cause), now));
    }

    fn open(&mut self, outage: OpenState) {
        self.epoch += 1;
        self.open_state = Some(outage);
    }

    fn on_probe(&mut self, outcome: Outcome, now: Instant, rng: &mut fastrand::Rng) -> Option<BreakerChange> {
        let mark = outcome.counts_for_breaker();
        if mark == BreakerSignal::Success {
            self.close(now);
            self.peers.recovered();
            return Some(BreakerChange::Closed);
        }
        let rest = (mark != BreakerSignal::Neutral).then(|| self.next_backoff(rng));
        let outage = self.open_state.as_mut()?;
        outage.probing = false;
        let until = now + rest?;
        // A throttled probe was answered by a living target, but it is no recovery either.
        let health_lies = outage.health_check_contradicted || outage.health_check_hinted;
        *outage = OpenState {
            health_check_contradicted: health_lies,
            ..OpenState::new(until, Some(OpenCause::Probe(outcome)), now)
        };
        Some(BreakerChange::Opened)
    }

    fn close(&mut self, at: Instant) {
        self.open_state = None;
        self.window = SuccessWindow::new(self.config.window);
        (self.consecutive_failures, self.consecutive_broken) = (0, 0);
        self.epoch += 1;
        self.recovered_at = Some(at);
    }

    /// `open_min`, doubled per rest in a row up to `open_max`, ± 20 %.
    fn next_backoff(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let doubled = self.config.open_min.saturating_mul(1 << self.backoff_exponent.min(20));
        self.backoff_exponent = self.backoff_exponent.saturating_add(1);
        let plain = doubled.min(self.config.open_max.max(self.config.open_min));
        plain.mul_f64(1.0 - JITTER + 2.0 * JITTER * rng.f64())
    }
}

impl OpenState {
    fn new(until: Instant, cause: Option<OpenCause>, opened: Instant) -> Self {
        Self {
            until,
            probing: false,
            cause,
            opened,
            reported_by: None,
            health_check_hinted: false,
            health_check_contradicted: false,
        }
    }
}
