//! How long a provider asks us to wait, in every format seen in the field.
//!
//! Headers and messages are untrusted input: garbage must never panic, never mean for ever and never
//! mean "at once". So every result lies within [`MIN`] and [`MAX`], and invalid values count as absent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::peer_evidence::{PeerCooldown, PeerId};

/// Shortest cooldown: no loop without a pause.
pub(crate) const MIN: Duration = Duration::from_secs(1);
/// Longest cooldown: a wrong value, or a daily quota, must not remove a target for ever.
pub(crate) const MAX: Duration = Duration::from_secs(300);

/// First cooldown after a throttled answer that gives none; doubles up to [`UNSTATED_MAX`].
const UNSTATED_MIN: Duration = Duration::from_secs(1);
const UNSTATED_MAX: Duration = Duration::from_secs(60);

/// The value of a header made for it: `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after`.
///
/// `now` is the wall clock, for dates. `None` if absent or invalid.
pub(crate) fn explicit(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let millis = ["retry-after-ms", "x-ms-retry-after-ms"].into_iter().flat_map(|name| values(headers, name));
    let seconds = values(headers, "retry-after");
    let wait = millis
        .filter_map(|text| number(text).map(|ms| ms / 1000.0))
        .chain(seconds.filter_map(|text| wait(text, now)))
        .next()?;
    Some(clamp(wait))
}

/// The best hint of a throttled answer: [`explicit`], else the rate-limit window that is used up, else the
/// text of the message ("try again in 7.66s").
pub(crate) fn of_throttled(headers: &HeaderMap, message: &str, now: SystemTime) -> Option<Duration> {
    explicit(headers, now)
        .or_else(|| of_windows(headers, now).map(clamp))
        .or_else(|| of_message(message).map(clamp))
}

/// One value of a `retry-after` or `x-ratelimit-reset-*` header as seconds from `now`, not clamped.
///
/// Accepts `7`, `7.66`, `12ms`, `2m59.56s`, `1h`, an HTTP date, and the epoch in seconds or milliseconds. The
/// past counts as 0. `None` for anything else: negative, `NaN`, infinite, empty, text.
pub(crate) fn wait(text: &str, now: SystemTime) -> Option<f64> {
    let text = text.trim();
    if let Some(n) = number(text) {
        return Some(from_epoch(n, now).unwrap_or(n));
    }
    spelled(text).or_else(|| {
        let at = httpdate::parse_http_date(text).ok()?;
        Some(at.duration_since(now).unwrap_or_default().as_secs_f64())
    })
}

/// `rest` lengthened by up to 20 %, so that not all requests come back at the same instant.
pub(crate) fn jittered(rest: Duration, rng: &mut fastrand::Rng) -> Duration {
    rest.mul_f64(1.0 + 0.2 * rng.f64())
}

/// The cooldown of one target: until when, and how many in a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cooldown {
    until: Option<Instant>,
    /// When the provider last asked for one.
    told: Option<Instant>,
    consecutive: u32,
    /// A peer was told so.
    peer: Option<PeerCooldown>,
}

impl Cooldown {
    /// Records a throttled answer. `said` is its hint; without one the cooldown doubles from 1 s to 60 s.
    ///
    /// Answers to requests that were sent before the cooldown began carry nothing new, so they neither double nor
    /// shorten it: twenty throttled answers of one burst are one.
    pub(crate) fn throttled(&mut self, said: Option<Duration>, now: Instant, rng: &mut fastrand::Rng) {
        let fresh = !self.is_throttled(now);
        self.told = Some(now);
        let rest = said.map(|d| d.clamp(MIN, MAX)).unwrap_or_else(|| {
            let doublings = self.consecutive.saturating_sub(u32::from(!fresh)).min(6);
            UNSTATED_MIN.saturating_mul(1 << doublings).min(UNSTATED_MAX)
        });
        if fresh {
            self.consecutive = self.consecutive.saturating_add(1);
        }
        if fresh || said.is_some() {
            self.until = self.until.max(Some(now + jittered(rest, rng)));
        }
    }

    /// Records a success: the next cooldown without a hint starts small again.
    pub(crate) fn answered(&mut self) {
        self.consecutive = 0;
    }

    /// Whether this gateway itself was asked to wait.
    pub(crate) fn is_throttled(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When it may be tried again; `None` if now.
    pub(crate) fn retry_at(&self, now: Instant) -> Option<Instant> {
        self.until.max(self.peer.map(|peer| peer.until)).filter(|until| now < *until)
    }

    /// The peer's report, if only that keeps the target in cooldown now.
    pub(crate) fn reported_by(&self, now: Instant) -> Option<PeerCooldown> {
        self.peer.filter(|peer| now < peer.until && self.until < Some(peer.until))
    }

    /// What a peer was told. The limit is that of our common key, so it holds here as well.
    pub(crate) fn merge(&mut self, peer: Option<PeerCooldown>) {
        self.peer = peer;
    }

    /// What this gateway was told itself, as the peers of `me` see it.
    pub(crate) fn own(&self, me: PeerId, now: Instant) -> Option<PeerCooldown> {
        let until = self.until.filter(|until| now < *until)?;
        Some(PeerCooldown { until, told: self.told?, peer: me })
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

fn clamp(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(MIN.as_secs_f64(), MAX.as_secs_f64()))
}

/// A plain number that can be a time: finite and not negative. `inf` and `nan`, which Rust would parse, are not.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let n: f64 = text.bytes().any(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
    (n.is_finite() && n >= 0.0 && !text.starts_with('-')).then_some(n)
}

/// Seconds from `now` if `n` can only be a point in time: thirty years or more as a duration.
fn from_epoch(n: f64, now: SystemTime) -> Option<f64> {
    const EPOCH_SECONDS: f64 = 1e9;
    const EPOCH_MILLIS: f64 = 1e12;
    let at = match n {
        n if n >= EPOCH_MILLIS => n / 1000.0,
        n if n >= EPOCH_SECONDS => n,
        _ => return None,
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    Some((at - now).max(0.0))
}

/// `2m59.56s`, `12ms`, `6m0s`, `1h`, `30 seconds`: numbers with units, nothing else.
fn spelled(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut total = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let n = number(&rest[..digits])?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        total = Some(total.unwrap_or(0.0) + n * unit(&rest[..letters])?);
        rest = rest[letters..].trim_start();
    }
    total
}

/// Seconds in a unit of time.
fn unit(name: &str) -> Option<f64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "us" => 1e-6,
        "ms" | "msec" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    })
}

/// `x-ratelimit-reset*`: the longest of the windows with nothing remaining. If no window is used up, the
/// shortest of all, because a daily window must not stand for the minute's (Groq sends both).
fn of_windows(headers: &HeaderMap, now: SystemTime) -> Option<f64> {
    let mut used_up: Option<f64> = None;
    let mut shortest: Option<f64> = None;
    for (name, value) in headers {
        let Some(wait) = reset_suffix(name).and(value.to_str().ok()).and_then(|text| wait(text, now)) else {
            continue;
        };
        let remaining = name.as_str().replacen("reset", "remaining", 1);
        let left = values(headers, &remaining).find_map(number);
        if left == Some(0.0) {
            used_up = Some(used_up.map_or(wait, |w| w.max(wait)));
        }
        shortest = Some(shortest.map_or(wait, |w| w.min(wait)));
    }
    used_up.or(shortest)
}

fn reset_suffix(name: &HeaderName) -> Option<&str> {
    let name = name.as_str();
    name.strip_prefix("x-ratelimit-reset").or_else(|| name.strip_prefix("x-tokenlimit-reset"))
}

/// The number after "try again in", "retry in" or "retry after" in an error message.
fn of_message(message: &str) -> Option<f64> {
    let message = message.to_ascii_lowercase();
    ["try again in ", "retry in ", "retry after ", "retry_after: "].into_iter().find_map(|lead| {
        let rest = &message[message.find(lead)? + lead.len()..];
        let words = rest.split_ascii_whitespace().take(2).collect::<Vec<_>>();
        let first = words.first()?.trim_end_matches(['.', ',', ';', ')', '!']);
        let both = words.join(" ");
        spelled(first).or_else(|| spelled(both.trim_end_matches(['.', ',', ';', ')', '!'])))
    })
}

#[cfg(test)]
mod tests;
