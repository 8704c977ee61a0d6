//! What the peers say of one target, and what follows from all of it together.
//!
//! Only the newest report of each peer counts, and of what they say always the newest of its kind (the newest outage, the
//! newest recovery). So neither the order in which reports arrive nor how often they do can matter. Nothing from before an
//! operator's reset counts.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::message::{Age, CooldownMsg, DrainMsg, ResetMsg, TargetReport};
use crate::upstream::{
    health::{
        peer_evidence::{PeerCooldown, PeerEvidence, PeerId, PeerOutage, PeerSilence, PeerStreak},
        score::LatencyKind,
    },
    target::OperatorCommand,
};

/// Peers whose reports are kept; of more, those that reported last.
const MAX_PEERS: usize = 64;

/// The reports of all peers.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerView {
    peers: BTreeMap<PeerId, PeerEntry>,
    /// When an operator had everything forgotten.
    not_before: Option<Instant>,
}

/// The newest report of one peer.
#[derive(Debug, Clone)]
struct PeerEntry {
    number: u64,
    /// When it was written, in our own time.
    written: Instant,
    /// When its breaker opened.
    opened: Option<Instant>,
    /// When its breaker closed.
    recovered: Option<Instant>,
    report: TargetReport,
}

impl PeerEntry {
    /// A message that was long on its way makes what it reports look later than it was. So what was reported before keeps
    /// the earlier time.
    fn new(number: u64, written: Instant, report: TargetReport, before: Option<&PeerEntry>) -> Self {
        let same = before.filter(|before| before.report.state == report.state);
        let earlier = |before: Option<Instant>, age: Option<Age>| {
            let at = age?.at(written)?;
            Some(before.unwrap_or(at).min(at))
        };
        Self {
            number,
            written,
            opened: earlier(same.and_then(|before| before.opened), report.outage.0.map(|outage| outage.age)),
            recovered: earlier(same.and_then(|before| before.recovered), report.recovered.0),
            report,
        }
    }
}

impl PeerView {
    /// Takes what a peer reports in its message `number`, written at `written`; `false` if it is no news.
    pub(crate) fn merge(
        &mut self,
        peer: PeerId,
        number: u64,
        report: TargetReport,
        written: Instant,
    ) -> bool {
        if self.peers.get(&peer).is_some_and(|entry| entry.number >= number) {
            return false;
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            let quietest = self.peers.iter().min_by_key(|(_, entry)| entry.written).map(|(peer, _)| *peer);
            quietest.and_then(|peer| self.peers.remove(&peer));
        }
        let entry = PeerEntry::new(number, written, report, self.peers.get(&peer));
        self.peers.insert(peer, entry);
        true
    }

    /// Nothing from before `at` counts any more.
    pub(crate) fn forget_before(&mut self, at: Instant) {
        *self = Self { peers: BTreeMap::new(), not_before: Some(at) };
    }

    /// Since when reports count, if an operator had everything forgotten.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// All that the peers say together.
    pub(crate) fn evidence(&self) -> PeerEvidence {
        PeerEvidence {
            outage: self.outage(),
            recovered_at: self.peers.values().filter_map(|entry| self.dated(entry.recovered?)).max(),
            streaks: self.streaks(),
            cooldown: self.cooldowns(|report| report.cooldown.0).max(),
            exhausted: self.cooldowns(|report| report.exhausted.0).max_by_key(|full| (full.told, full.peer)),
            rates: self.since_reset().filter_map(|entry| entry.report.rate.0?.read(entry.written)).collect(),
            silences: [LatencyKind::Stream, LatencyKind::Whole].map(|kind| self.silence(kind)),
        }
    }

    fn outage(&self) -> Option<PeerOutage> {
        let each = self.peers.iter().filter_map(|(peer, entry)| {
            let outage = entry.report.outage.0?.read(*peer, entry.written)?;
            Some(PeerOutage { opened: self.dated(entry.opened?)?, ..outage })
        });
        each.max_by_key(|outage| (outage.opened, outage.peer))
    }

    fn streaks(&self) -> Vec<PeerStreak> {
        let each = self.peers.iter().filter_map(|(peer, entry)| {
            let streak = entry.report.streak.0?.read(*peer, entry.written)?;
            self.dated(streak.last).and(Some(streak))
        });
        each.collect()
    }

    fn cooldowns(
        &self,
        which: fn(&TargetReport) -> Option<CooldownMsg>,
    ) -> impl Iterator<Item = PeerCooldown> + '_ {
        self.peers.iter().filter_map(move |(peer, entry)| {
            let cooldown = which(&entry.report)?.read(*peer, entry.written)?;
            self.dated(cooldown.told).and(Some(cooldown))
        })
    }

    fn silence(&self, kind: LatencyKind) -> Option<PeerSilence> {
        let each = self.since_reset().filter_map(|entry| {
            let since = entry.report.figures(kind as usize).silence.0?.at(entry.written)?;
            Some(PeerSilence { reported: entry.written, since })
        });
        each.max()
    }

    /// An operator's newest command to take the target out or in that was given elsewhere, and which of the two.
    pub(super) fn drain(&self) -> Option<(OperatorCommand, bool)> {
        let each = self.peers.values().filter_map(|entry| {
            let DrainMsg { id, drained, age } = entry.report.drain.0?;
            Some((age.at_any_time(entry.written)?, id, drained))
        });
        each.max().map(|(at, id, drained)| (OperatorCommand { at, id, local: false }, drained))
    }

    /// An operator's newest command, given elsewhere, to forget everything.
    pub(super) fn reset(&self) -> Option<OperatorCommand> {
        let each = self.peers.values().filter_map(|entry| {
            let ResetMsg { id, age } = entry.report.reset.0?;
            Some((age.at(entry.written)?, id))
        });
        each.max().map(|(at, id)| OperatorCommand { at, id, local: false })
    }

    fn since_reset(&self) -> impl Iterator<Item = &PeerEntry> {
        self.peers.values().filter(|entry| self.dated(entry.written).is_some())
    }

    /// `at`, unless that was before an operator had everything forgotten.
    fn dated(&self, at: Instant) -> Option<Instant> {
        self.not_before.is_none_or(|reset| reset < at).then_some(at)
    }
}
