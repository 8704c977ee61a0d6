//! How much of its limits a user has left, as OpenAI's `x-ratelimit-*` headers say it.

use std::time::Duration;

use http::HeaderName;

use crate::http1::headers::digits;

/// What is left of the limits a user has; `None`: no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateHeaders {
    /// Of the requests per minute.
    pub requests: Option<RateLimitState>,
    /// Of the tokens per minute.
    pub tokens: Option<RateLimitState>,
}

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitState {
    /// Per minute.
    pub limit: u64,
    /// Now.
    pub remaining: u64,
    /// Until all are left again.
    pub reset: Duration,
}

static REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
static TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

impl RateHeaders {
    /// Each header, and what it says.
    pub fn each(&self, mut line: impl FnMut(&HeaderName, &[u8])) {
        for (names, left) in [(&REQUESTS, self.requests), (&TOKENS, self.tokens)] {
            let (Some(left), [limit, remaining, reset]) = (left, names) else { continue };
            line(limit, digits(left.limit, &mut [0; 20]));
            line(remaining, digits(left.remaining, &mut [0; 20]));
            line(reset, duration_text(left.reset).written());
        }
    }
}

/// `12ms`, `7.66s`, `6m0s`, `1h0m0s`: as Go prints durations, which is what OpenAI sends. Rounded up to a millisecond.
fn duration_text(duration: Duration) -> HeaderValues {
    let millis = u64::from(duration.subsec_nanos().div_ceil(1_000_000)) + duration.as_secs() * 1000;
    let mut words = HeaderValues::default();
    if (1..1000).contains(&millis) {
        words.add(millis, b"ms");
        return words;
    }
    let (minutes, seconds, millis) = (millis / 60_000, millis / 1000 % 60, millis % 1000);
    if minutes >= 60 {
        words.add(minutes / 60, b"h");
    }
    if minutes > 0 {
        words.add(minutes % 60, b"m");
    }
    words.add(seconds, b"");
    let fraction = [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8);
    if let Some(last) = fraction.iter().rposition(|digit| *digit != b'0') {
        words.push(b".");
        words.push(&fraction[..=last]);
    }
    words.push(b"s");
    words
}

/// A duration's text. Made for every answer, so it is neither formatted nor allocated.
#[derive(Default)]
struct HeaderValues {
    /// The longest has the hours of [`u64::MAX`] milliseconds, minutes, seconds and a fraction.
    room: [u8; 32],
    used: usize,
}

impl HeaderValues {
    fn add(&mut self, number: u64, unit: &[u8]) {
        self.push(digits(number, &mut [0; 20]));
        self.push(unit);
    }

    fn push(&mut self, piece: &[u8]) {
        if let Some(room) = self.room.get_mut(self.used..self.used + piece.len()) {
            room.copy_from_slice(piece);
            self.used += piece.len();
        }
    }

    fn written(&self) -> &[u8] {
        &self.room[..self.used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_look_as_openai_sends_them() {
        for (millis, words) in [
            (0, "0s"),
            (12, "12ms"),
            (1000, "1s"),
            (7660, "7.66s"),
            (59_999, "59.999s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (179_560, "2m59.56s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(duration_text(Duration::from_millis(millis)).written(), words.as_bytes());
        }
        assert_eq!(duration_text(Duration::from_nanos(1)).written(), b"1ms", "never too early");
        let longest = duration_text(Duration::from_millis(u64::MAX / 1000 * 1000 + 551));
        assert_eq!(longest.written(), b"5124095576030h25m51.551s");
    }

    #[test]
    fn only_limits_that_exist_are_told() {
        let left = RateLimitState { limit: 60, remaining: 59, reset: Duration::from_secs(1) };
        let mut told = Vec::new();
        RateHeaders { requests: Some(left), tokens: None }.each(|name, value| {
            told.push((name.as_str().to_owned(), String::from_utf8(value.to_vec()).unwrap()));
        });
        let expected = [
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
