//! The gateway's own headers of a response: how it was got, and what is left of the user's limits.
//!
//! They stay as they are until the head is written, once: in a map, a dozen of them would cost a hash and an allocation
//! each. No text gets into a head that could end its line.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Response};

use super::{header_names, response_body::ResponseBody};
use crate::{
    admission::rate_limit_headers::RateHeaders,
    dispatch::ResponseTrail,
    http1::{headers::digits, server::OutgoingBody},
};

/// Those of one response; none at first.
#[derive(Default)]
pub(crate) struct GatewayHeaders {
    /// How it, or none, was got.
    pub trail: Option<ResponseTrail>,
    /// What is left of the limits after it.
    pub rates: RateHeaders,
    /// The id of the request.
    pub id: Option<Arc<str>>,
}

impl GatewayHeaders {
    /// Each header, and what it says.
    pub(crate) fn each(&self, mut line: impl FnMut(&HeaderName, &[u8])) {
        if let Some(trail) = &self.trail {
            if let Some(target) = trail.target.as_deref().filter(|target| fits_a_line(target)) {
                line(&header_names::TARGET, target.as_bytes());
            }
            let mut number = |name: &HeaderName, number| line(name, digits(number, &mut [0; 20]));
            number(&header_names::ATTEMPTS, trail.attempts.into());
            number(&header_names::QUEUE, millis(trail.queued));
            number(&header_names::OVERHEAD, millis(trail.overhead));
        }
        self.rates.each(&mut line);
        if let Some(id) = self.id.as_deref().filter(|id| fits_a_line(id)) {
            line(&header_names::REQUEST_ID, id.as_bytes());
        }
    }
}

/// `response` with them among its other headers, for HTTP/2.
pub(crate) fn in_headers(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let mut headers = std::mem::take(response.headers_mut());
    response.body_mut().take_headers(|name, value| {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    });
    *response.headers_mut() = headers;
    response
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// A target is called what a client or the configuration calls its model, which may be anything.
fn fits_a_line(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(target: &str) -> GatewayHeaders {
        let (queued, overhead) = (Duration::from_micros(1_999), Duration::from_secs(2));
        let trail = ResponseTrail { target: Some(target.into()), attempts: 2, queued, overhead };
        GatewayHeaders { trail: Some(trail), rates: RateHeaders::default(), id: Some("req-1".into()) }
    }

    #[test]
    fn a_map_says_what_the_lines_say() {
        let mut body = ResponseBody::whole("");
        *body.headers_mut() = told("a/m");
        let response = in_headers(Response::new(body));
        let said = [
            ("x-concierge-target", "a/m"),
            ("x-concierge-attempts", "2"),
            ("x-concierge-queue-ms", "1"),
            ("x-concierge-overhead-ms", "2000"),
            ("x-request-id", "req-1"),
        ];
        assert_eq!(response.headers().len(), said.len());
        for (name, value) in said {
            assert_eq!(response.headers()[name], value);
        }
    }

    #[test]
    fn no_text_ends_its_line() {
        for target in ["a/m\r\nset-cookie: x", "a/m\n", "a/\0", "a/é", "a/\u{7f}"] {
            told(target).each(|name, _| assert_ne!(name, header_names::TARGET, "{target:?}"));
        }
    }
}
