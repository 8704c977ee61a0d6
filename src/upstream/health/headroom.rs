//! What remains of a provider's rate limits, from the headers of every answer: move on before the 429.
//!
//! Providers count requests and tokens in windows of their own (`x-ratelimit-remaining-requests`,
//! `-tokens-minute`, `-req-day`, plain, or `x-tokenlimit-remaining`); each suffix is a gauge here. Absent or
//! invalid values (Azure's -1, a limit of 0) must never make a target ineligible; a valid one
//! counts for 300 s at most, since a window may refill all the time (Groq's daily one does).
//!
//! It is only an estimate: if no target has headroom, try the one with the earliest [`Headroom::room_at`].

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::{
    cooldown::{self, MAX},
    peer_evidence::{PeerCooldown, PeerId},
};

/// More windows than any provider has; a hostile response cannot grow the list.
const GAUGES: usize = 8;
/// Longest name of a window, in bytes.
const NAME: usize = 32;

/// What a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaUnit {
    /// A number of requests.
    Requests,
    /// Tokens of prompts and answers.
    Tokens,
}

/// One window, for the admin page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadroomView {
    /// The end of the header's name, such as `-tokens-minute`; empty for a plain one.
    pub window: String,
    /// What the window counts.
    pub unit: QuotaUnit,
    /// The limit of one window, if reported.
    pub limit: Option<u64>,
    /// What remains: the header's number minus what was sent since.
    pub remaining: u64,
    /// When it is full again, by our estimate.
    pub reset_at: Instant,
}

/// All windows of one target.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headroom {
    gauges: Vec<HeadroomView>,
    /// When an answer last had rate-limit headers.
    observed: Option<Instant>,
    /// A peer has seen that nothing is left of what our common key may ask.
    peer: Option<PeerCooldown>,
}

impl Headroom {
    /// Reads the headers of an answer of any status. `wall` is for resets given as a date or an epoch.
    pub(crate) fn observe(&mut self, headers: &HeaderMap, now: Instant, wall: SystemTime) {
        for name in headers.keys() {
            let Some(gauge) = read(headers, name, now, wall) else { continue };
            self.observed = Some(now);
            let known = self.gauges.iter().position(|g| g.window == gauge.window && g.unit == gauge.unit);
            match known {
                Some(i) => self.gauges[i] = gauge,
                None if self.gauges.len() < GAUGES => self.gauges.push(gauge),
                None => {}
            }
        }
    }

    /// Subtracts a request from every window, until the next answer has new numbers.
    pub(crate) fn sent(&mut self, prompt_tokens: u64) {
        for gauge in &mut self.gauges {
            gauge.remaining = gauge.remaining.saturating_sub(gauge.cost(prompt_tokens));
        }
    }

    /// When a request with about so many prompt tokens will fit into every window; `None` if it does now, or nothing is
    /// known.
    pub(crate) fn room_at(&self, now: Instant, prompt_tokens: u64) -> Option<Instant> {
        self.own_room_at(now, prompt_tokens).max(self.peer_cooldown(now).map(|peer| peer.until))
    }

    fn own_room_at(&self, now: Instant, prompt_tokens: u64) -> Option<Instant> {
        let full = self.gauges.iter().filter(|g| now < g.reset_at && g.remaining < g.cost(prompt_tokens));
        full.map(|g| g.reset_at).max()
    }

    /// The peer's report, unless the provider has sent us newer numbers.
    fn peer_cooldown(&self, now: Instant) -> Option<PeerCooldown> {
        self.peer.filter(|peer| now < peer.until && self.observed < Some(peer.told))
    }

    /// The peer's report, if only that keeps the target out now.
    pub(crate) fn reported_by(&self, now: Instant) -> Option<PeerCooldown> {
        self.peer_cooldown(now).filter(|_| self.own_room_at(now, 0).is_none())
    }

    /// What a peer has seen.
    pub(crate) fn merge(&mut self, peer: Option<PeerCooldown>) {
        self.peer = peer;
    }

    /// That there is no room for any request, as seen here; in the form in which the peers of `me` see it.
    pub(crate) fn own(&self, me: PeerId, now: Instant) -> Option<PeerCooldown> {
        Some(PeerCooldown { until: self.own_room_at(now, 0)?, told: self.observed?, peer: me })
    }

    /// Whether this gateway has seen that there is no room for any request.
    pub(crate) fn is_exhausted(&self, now: Instant) -> bool {
        self.own_room_at(now, 0).is_some()
    }

    /// The windows whose reset is still to come.
    pub(crate) fn view(&self, now: Instant) -> impl Iterator<Item = &HeadroomView> {
        self.gauges.iter().filter(move |g| now < g.reset_at)
    }
}

impl HeadroomView {
    /// The cost of one request in this window. A request larger than the whole window is sent to a full one all the same:
    /// our token count is an estimate, and the provider's verdict on the size is authoritative.
    fn cost(&self, prompt_tokens: u64) -> u64 {
        match self.unit {
            QuotaUnit::Requests => 1,
            QuotaUnit::Tokens => prompt_tokens.max(1).min(self.limit.unwrap_or(u64::MAX)),
        }
    }
}

/// The gauge of a `…-remaining…` header; `None` for any other header, or an invalid value.
fn read(headers: &HeaderMap, name: &HeaderName, now: Instant, wall: SystemTime) -> Option<HeadroomView> {
    let name = name.as_str();
    let (family, window) = ["x-ratelimit", "x-tokenlimit"]
        .into_iter()
        .find_map(|family| Some((family, name.strip_prefix(family)?.strip_prefix("-remaining")?)))?;
    if window.len() > NAME {
        return None;
    }
    let other = |what: &str| text(headers, &format!("{family}-{what}{window}"));
    let limit = other("limit").and_then(whole);
    if other("limit").is_some() && limit.is_none_or(|limit| limit == 0) {
        return None;
    }
    // Together counts tokens in a family of their own, with one reset for both.
    let stated = other("reset").or_else(|| text(headers, &format!("x-ratelimit-reset{window}")));
    let stated = stated.and_then(|value| cooldown::wait(value, wall));
    let reset = stated.or_else(|| usual_reset(window))?.min(MAX.as_secs_f64());
    Some(HeadroomView {
        window: window.to_owned(),
        unit: if name.contains("token") { QuotaUnit::Tokens } else { QuotaUnit::Requests },
        limit,
        remaining: whole(text(headers, name)?)?,
        reset_at: now + Duration::from_secs_f64(reset),
    })
}

/// Mistral names the window and never the reset. A window without either is ignored: there would be no
/// end to the time for which it keeps the target out.
fn usual_reset(window: &str) -> Option<f64> {
    if window.ends_with("second") {
        Some(1.0)
    } else if window.ends_with("minute") {
        Some(60.0)
    } else {
        ["hour", "day", "month"].iter().any(|end| window.ends_with(end)).then_some(MAX.as_secs_f64())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A count: not negative; some providers send `5999.0`.
fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let n: f64 = text.parse().ok()?;
        (n.is_finite() && n >= 0.0 && !text.starts_with('-')).then_some(n as u64)
    })
}

#[cfg(test)]
mod tests;
