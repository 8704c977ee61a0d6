//! What the peers say of one target, and what follows from all of it together.
//!
//! Only the newest report of each peer counts, and of what they say always the newest of its kind (the newest outage, the
//! newest recovery): so neither the order in which reports arrive nor how often they do can matter. Nothing that is from
//! before an operator's reset is listened to.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::message::{self, PeerId, Received, TargetReport};
use crate::upstream::health::{breaker::OpenCause, score::LatencyKind};

/// Peers whose word is kept; of more, those that were heard last.
const MAX_PEERS: usize = 64;
/// So long after a peer's failure others are preferred to the target, for each failure of its row:
const SUSPICION_TTL: Duration = Duration::from_secs(1);
/// but for no more than these. One failure is nothing much; a row that goes on slowly, because scores have fallen, is.
const MAX_SUSPICIONS: u32 = 5;
/// A row of failures that has not gone on for so long says nothing any more.
const STREAK_TTL: Duration = Duration::from_secs(30);
/// No answer takes longer: the largest latency that makes sense, in seconds.
const MAX_AGE: f64 = 3600.0;

/// A breaker that a peer has opened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerOutage {
    /// Who.
    pub peer: PeerId,
    /// When it saw the failure that opened it.
    pub opened: Instant,
    /// When the target is probed next.
    pub until: Instant,
    /// Rests in a row.
    pub rests: u32,
    /// Why.
    pub cause: OpenCause,
}

/// A peer has just seen the target fail, and finds out what it is: until then the others need not find it out, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerSuspicion {
    /// The end, unless more is heard: a second for each failure in its row.
    pub until: Instant,
    /// Who.
    pub peer: PeerId,
    /// When it saw the last failure.
    pub failed: Instant,
}

/// How long the provider wants to be left alone, as a peer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerCooldown {
    /// The end.
    pub until: Instant,
    /// When the peer was told.
    pub told: Instant,
    /// Who.
    pub peer: PeerId,
}

/// The words of all peers.
#[derive(Debug, Clone, Default)]
pub struct PeerView {
    peers: BTreeMap<PeerId, PeerEntry>,
    /// When an operator had everything forgotten.
    not_before: Option<Instant>,
}

/// The newest word of one peer.
#[derive(Debug, Clone)]
struct PeerEntry {
    number: u64,
    /// When it was written, in our own time.
    written: Instant,
    /// When its breaker opened.
    opened: Option<Instant>,
    /// When its breaker closed.
    back: Option<Instant>,
    report: TargetReport,
}

impl PeerEntry {
    /// A message that was long on its way makes what it tells look later than it was: of what was told before, too, the
    /// earlier time is the true one.
    fn new(number: u64, written: Instant, report: TargetReport, before: Option<&PeerEntry>) -> Self {
        let same = before.filter(|before| before.report.state == report.state);
        let earlier =
            |before: Option<Instant>, now: Option<Instant>| now.map(|now| before.unwrap_or(now).min(now));
        let opened = report.outage.and_then(|outage| outage.age.at(written));
        let back = report.back.and_then(|age| age.at(written));
        Self {
            number,
            written,
            opened: earlier(same.and_then(|before| before.opened), opened),
            back: earlier(same.and_then(|before| before.back), back),
            report,
        }
    }
}

impl PeerView {
    /// Takes note of what a peer says in its message `number`, written at `written`; `false` if it is no news.
    pub fn merge(&mut self, peer: PeerId, number: u64, report: TargetReport, written: Instant) -> bool {
        if self.peers.get(&peer).is_some_and(|told| told.number >= number) {
            return false;
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            let quietest = self.peers.iter().min_by_key(|(_, told)| told.written).map(|(peer, _)| *peer);
            quietest.and_then(|peer| self.peers.remove(&peer));
        }
        let told = PeerEntry::new(number, written, report, self.peers.get(&peer));
        self.peers.insert(peer, told);
        true
    }

    /// Forgets what was said of the time before `now`, and does not listen to it any more.
    pub fn forget(&mut self, now: Instant) {
        *self = Self { peers: BTreeMap::new(), not_before: Some(now) };
    }

    /// The newest outage.
    pub fn outage(&self) -> Option<PeerOutage> {
        let each = self.peers.iter().filter_map(|(peer, told)| {
            let outage = told.report.outage?;
            let opened = self.dated(told.opened?)?;
            let until = outage.left.end(told.written);
            Some(PeerOutage { peer: *peer, opened, until, rests: outage.rests, cause: outage.cause })
        });
        each.max_by_key(|outage| (outage.opened, outage.peer))
    }

    /// The newest recovery.
    pub fn recovered_at(&self) -> Option<Instant> {
        self.peers.values().filter_map(|told| self.dated(told.back?)).max()
    }

    /// The longest doubt by failures after `success`, our own last one. `ours`: we are in a row of our own, so only a peer of a
    /// lower number than ours goes on asking instead of us.
    pub fn suspect(&self, success: Option<Instant>, ours: Option<PeerId>) -> Option<PeerSuspicion> {
        let asks_on = |peer: PeerId| ours.is_none_or(|ours| peer < ours);
        let each = self.peers.iter().filter(|(peer, _)| asks_on(**peer)).filter_map(|(peer, told)| {
            let row = told.report.row?;
            let failed = self.dated(row.age.at(told.written)?).filter(|failed| success < Some(*failed))?;
            Some(PeerSuspicion {
                until: failed + SUSPICION_TTL * row.failures.min(MAX_SUSPICIONS),
                peer: *peer,
                failed,
            })
        });
        each.max()
    }

    /// The longest row of failures that one peer is in, if nothing was seen to succeed here since `success`, our own last one.
    pub fn failure_streak(&self, success: Option<Instant>, now: Instant) -> u32 {
        let each = self.peers.values().filter_map(|told| {
            let row = told.report.row?;
            let failed = self.dated(row.age.at(told.written)?).filter(|failed| success < Some(*failed))?;
            (now.saturating_duration_since(failed) < STREAK_TTL).then_some(row.failures)
        });
        each.max().unwrap_or(0).min(MAX_SUSPICIONS)
    }

    /// The longest rest that a provider asked a peer for.
    pub fn rest(&self) -> Option<PeerCooldown> {
        self.cooldowns(|report| report.rest).max()
    }

    /// How long the provider's rate limit has no room, by the newest word.
    pub fn full(&self) -> Option<PeerCooldown> {
        self.cooldowns(|report| report.full).max_by_key(|hold| (hold.told, hold.peer))
    }

    fn cooldowns(
        &self,
        which: fn(&TargetReport) -> Option<message::CooldownMsg>,
    ) -> impl Iterator<Item = PeerCooldown> + '_ {
        self.peers.iter().filter_map(move |(peer, told)| {
            let hold = which(&told.report)?;
            let said = self.dated(hold.age.at(told.written)?)?;
            Some(PeerCooldown { until: hold.left.end(told.written), told: said, peer: *peer })
        })
    }

    /// An operator's newest order that was given elsewhere: when, which, and whether the target is out.
    pub fn drain(&self) -> Option<(Instant, u64, bool)> {
        let each = self.peers.values().filter_map(|told| {
            let drain = told.report.drain?;
            Some((drain.age.saturating_ms(told.written)?, drain.id, drain.drained))
        });
        each.max()
    }

    /// When an operator last had everything forgotten on another gateway, and which order that was.
    pub fn reset(&self) -> Option<(Instant, u64)> {
        let each = self.peers.values().filter_map(|told| {
            let reset = told.report.reset?;
            Some((reset.age.at(told.written)?, reset.id))
        });
        each.max()
    }

    /// The success rates.
    pub fn rates(&self) -> impl Iterator<Item = Received> + '_ {
        self.since_reset().filter_map(|(_, told)| told.report.rate?.heard(1.0, told.written))
    }

    /// The latencies of `kind`, in seconds.
    pub fn latencies(&self, kind: LatencyKind) -> impl Iterator<Item = Received> + '_ {
        self.since_reset().filter_map(move |(_, told)| {
            told.report.kinds[kind as usize].latency?.heard(MAX_AGE, told.written)
        })
    }

    /// Since when requests of a peer have been waiting without a sign of life, as of when; the newest word.
    pub fn silence(&self, kind: LatencyKind) -> Option<(Instant, Instant)> {
        let each = self.since_reset().filter_map(|(_, told)| {
            let since = told.report.kinds[kind as usize].silence?.at(told.written)?;
            Some((told.written, since))
        });
        each.max().map(|(written, since)| (since, written))
    }

    fn since_reset(&self) -> impl Iterator<Item = (&PeerId, &PeerEntry)> {
        self.peers.iter().filter(|(_, told)| self.dated(told.written).is_some())
    }

    /// `at`, unless that was before an operator had everything forgotten.
    fn dated(&self, at: Instant) -> Option<Instant> {
        self.not_before.is_none_or(|reset| reset < at).then_some(at)
    }
}
