//! From a provider's error response to an [`Outcome`].
//!
//! Status first, then the provider's error code, and phrases only where providers give nothing better. A message
//! may quote the client's input, so phrases that would take a target out are searched for outside quotes, and
//! only if the error blames no request field: no client may put a target out of service with its own text.

use std::time::SystemTime;

use http::HeaderMap;

use super::{HardKind, MissingFeature, Outcome, error_text::*};
use crate::{config::known::ProviderProfile, upstream::health::cooldown};

/// Classifies an answer whose status is not 2xx.
///
/// `now` is the wall clock, for dates in `Retry-After`.
pub fn of_status(
    profile: &ProviderProfile,
    status: u16,
    headers: &HeaderMap,
    said: ErrorFields<'_>,
    now: SystemTime,
) -> Outcome {
    let words = ErrorText::new(said);
    if status >= 400 && words.is_code(TOO_BIG_CODES) {
        return Outcome::TooBig;
    }
    match status {
        ..300 => Outcome::Hard(HardKind::Malformed),
        429 | 498 => throttled(&words, headers, now),
        503 => match cooldown::explicit(headers, now) {
            Some(rest) => Outcome::Throttled { rest: Some(rest) },
            None if profile.throttle_503 => Outcome::Throttled { rest: None },
            None => Outcome::Hard(HardKind::Status(status)),
        },
        401 | 402 => Outcome::KeyRefused,
        403 => forbidden(profile, &words),
        404 => not_found(&words),
        // A redirect is not followed: the base URL is wrong. 501: llama.cpp without embeddings.
        300..400 | 405 | 501 => Outcome::NotServed(MissingFeature::Route),
        413 => Outcome::TooBig,
        409 => conflict(&words),
        // A timeout on the provider's side, and a cancellation that was not ours.
        408 | 499 => Outcome::Hard(HardKind::Status(status)),
        400..500 => bad_request(profile, &words),
        500 if words.has(TOO_BIG_WORDS) => Outcome::TooBig,
        _ => Outcome::Hard(HardKind::Status(status)),
    }
}

/// Classifies an error that came inside a 200: as the whole body, or as an event before any content.
///
/// OpenRouter puts the status it would have sent into `code`; others name the error. If neither identifies
/// it, it is a 200 that is not an answer.
pub fn of_error_in_200(
    profile: &ProviderProfile,
    headers: &HeaderMap,
    said: ErrorFields<'_>,
    now: SystemTime,
) -> Outcome {
    let words = ErrorText::new(said);
    let status = said.code.and_then(|code| code.trim().parse().ok()).filter(|code| (400..600).contains(code));
    if let Some(status) = status {
        return of_status(profile, status, headers, said, now);
    }
    if words.is_code(THROTTLED_CODES) {
        return throttled(&words, headers, now);
    }
    match bad_request(profile, &words) {
        Outcome::ClientFault if !words.is_policy() => Outcome::Hard(HardKind::Malformed),
        outcome @ (Outcome::Success
        | Outcome::Hard(_)
        | Outcome::Throttled { .. }
        | Outcome::KeyRefused
        | Outcome::NotServed(_)
        | Outcome::TooBig
        | Outcome::ClientFault
        | Outcome::Cancelled
        | Outcome::Broken(_)) => outcome,
    }
}

/// 429 and 498. An exhausted quota never clears by waiting, and a request larger than the whole
/// limit never fits: the client must be told "try again later" for neither.
fn throttled(words: &ErrorText<'_>, headers: &HeaderMap, now: SystemTime) -> Outcome {
    if words.is_code(QUOTA_CODES) {
        Outcome::KeyRefused
    } else if words.has(&["request too large"]) || words.asks_more_than_limit() {
        Outcome::TooBig
    } else {
        Outcome::Throttled { rest: cooldown::of_throttled(headers, words.said.message, now) }
    }
}

fn forbidden(profile: &ProviderProfile, words: &ErrorText<'_>) -> Outcome {
    if profile.context_403 || words.has(TOO_BIG_WORDS) {
        Outcome::TooBig
    } else if words.is_policy() {
        Outcome::ClientFault
    } else if words.is_code(NO_MODEL_CODES) {
        Outcome::NotServed(MissingFeature::Model)
    } else {
        Outcome::KeyRefused
    }
}

/// If one provider lacks the model or the route, that is no answer for the client while others have it.
/// Anything else that is "not found" was named in the request.
fn not_found(words: &ErrorText<'_>) -> Outcome {
    let no_error_body = words.said.message.is_empty() && words.said.code.is_none();
    let about_model =
        words.said.param == Some("model") || words.plain_has(&["model", "deployment", "no endpoints"]);
    if words.is_code(NO_MODEL_CODES) || about_model {
        Outcome::NotServed(MissingFeature::Model)
    } else if no_error_body || words.is_code(&["unknown_url"]) || words.has(NO_ROUTE_WORDS) {
        Outcome::NotServed(MissingFeature::Route)
    } else {
        Outcome::ClientFault
    }
}

/// OpenAI sends 409 for a lock, which a retry may find free; a stated conflict is the request's fault.
fn conflict(words: &ErrorText<'_>) -> Outcome {
    if words.said.message.is_empty() || words.has(&["lock", "try again", "retry", "timeout"]) {
        Outcome::Hard(HardKind::Status(409))
    } else {
        Outcome::ClientFault
    }
}

fn bad_request(profile: &ProviderProfile, words: &ErrorText<'_>) -> Outcome {
    if words.is_policy() {
        Outcome::ClientFault
    } else if words.is_code(TOO_BIG_CODES) || words.has(TOO_BIG_WORDS) {
        Outcome::TooBig
    } else if words.is_code(QUOTA_CODES) || words.is_code(KEY_CODES) || words.blames_account() {
        Outcome::KeyRefused
    } else if words.is_code(NO_MODEL_CODES) || words.plain_has(NO_MODEL_WORDS) {
        Outcome::NotServed(MissingFeature::Model)
    } else if words.names_refused_field(profile) {
        Outcome::NotServed(MissingFeature::Field)
    } else {
        Outcome::ClientFault
    }
}
