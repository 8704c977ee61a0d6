//! How much of its limits a user has left, as OpenAI's `x-ratelimit-*` headers say it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http1::head::number;

/// What is left of the limits a user has; `None`: no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateHeaders {
    /// Of the requests per minute.
    pub requests: Option<Left>,
    /// Of the tokens per minute.
    pub tokens: Option<Left>,
}

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Per minute.
    pub limit: u64,
    /// Now.
    pub remaining: u64,
    /// Until all are left again.
    pub reset: Duration,
}

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

impl RateHeaders {
    /// Whether an answer tells already what is left of something.
    pub fn are_in(headers: &HeaderMap) -> bool {
        headers.contains_key(&REQUESTS[0]) || headers.contains_key(&TOKENS[0])
    }

    /// Writes them into `headers`, unless they are there.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (names, left) in [(REQUESTS, self.requests), (TOKENS, self.tokens)] {
            let Some(left) = left else { continue };
            let [limit, remaining, reset] = names;
            if headers.contains_key(&limit) {
                continue;
            }
            headers.insert(limit, number(left.limit));
            headers.insert(remaining, number(left.remaining));
            if let Ok(value) = HeaderValue::try_from(in_words(left.reset)) {
                headers.insert(reset, value);
            }
        }
    }
}

/// `12ms`, `7.66s`, `6m0s`, `1h0m0s`: as Go prints durations, which is what OpenAI sends. Rounded up to a millisecond.
fn in_words(duration: Duration) -> String {
    let millis = u64::from(duration.subsec_nanos().div_ceil(1_000_000)) + duration.as_secs() * 1000;
    if (1..1000).contains(&millis) {
        return format!("{millis}ms");
    }
    let (minutes, seconds, millis) = (millis / 60_000, millis / 1000 % 60, millis % 1000);
    let before = match minutes {
        0 => String::new(),
        1..60 => format!("{minutes}m"),
        _ => format!("{}h{}m", minutes / 60, minutes % 60),
    };
    match millis {
        0 => format!("{before}{seconds}s"),
        _ => format!("{before}{seconds}.{}s", format!("{millis:03}").trim_end_matches('0')),
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
            assert_eq!(in_words(Duration::from_millis(millis)), words);
        }
        assert_eq!(in_words(Duration::from_nanos(1)), "1ms", "never too early");
    }

    #[test]
    fn only_limits_that_exist_are_told() {
        let left = Left { limit: 60, remaining: 59, reset: Duration::from_secs(1) };
        let mut headers = HeaderMap::new();
        RateHeaders { requests: Some(left), tokens: None }.write(&mut headers);
        let told: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            told,
            [
                ("x-ratelimit-limit-requests", "60"),
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-reset-requests", "1s"),
            ]
        );
    }
}
