//! The phrases and codes of providers' errors, and where they are searched for.
//!
//! A message may quote the client's input. Phrases that would take a target out must be searched for outside
//! quotes only, and only if the error blames no request field.

use crate::config::known::ProviderProfile;

// Codes are compared without case against `code` and `type`. Sources: the providers' error pages and bodies
// reported in the issue trackers of their clients.
pub(super) const TOO_BIG_CODES: &[&str] =
    &["context_length_exceeded", "exceed_context_size_error", "request_too_large", "tokens_limit_reached"];
pub(super) const QUOTA_CODES: &[&str] = &[
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
    "budget_exceeded",
];
pub(super) const KEY_CODES: &[&str] =
    &["invalid_api_key", "api_key_invalid", "authentication_error", "account_deactivated"];
pub(super) const NO_MODEL_CODES: &[&str] = &[
    "model_not_found",
    "model_not_available",
    "model_decommissioned",
    "invalid_model",
    "unknown_model",
    "deploymentnotfound",
];
pub(super) const THROTTLED_CODES: &[&str] = &["rate_limit_exceeded", "rate_limit_error", "too_many_requests"];
pub(super) const POLICY_CODES: &[&str] =
    &["content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation"];

pub(super) const TOO_BIG_WORDS: &[&str] = &[
    "context length",
    "context window",
    "context size",
    "context limit",
    "prompt is too long",
    "input is too long",
    "too large to process",
    "reduce the length of the messages",
    "max_new_tokens` must be <=",
];
pub(super) const ACCOUNT_WORDS: &[&str] = &[
    "usage limit reached",
    "reached your usage limit",
    "exceeded your current quota",
    "quota exceeded",
    "insufficient quota",
    "insufficient credit",
    "insufficient balance",
    "insufficient funds",
    "not enough credit",
    "out of credits",
    "credit balance is too low",
    "budget has been exceeded",
    "check your plan and billing",
    "api key not valid",
    "invalid api key",
    "incorrect api key",
];
pub(super) const POLICY_WORDS: &[&str] =
    &["content management policy", "content policy", "flagged", "moderation", "safety system"];
pub(super) const NO_MODEL_WORDS: &[&str] =
    &["is not a valid model", "invalid model", "has been decommissioned"];
pub(super) const NO_ROUTE_WORDS: &[&str] =
    &["unknown request url", "invalid url", "route not found", "page not found"];

/// The fields of a provider's error body; empty if it is not a JSON error.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorFields<'a> {
    /// `error.code`, numbers as text.
    pub code: Option<&'a str>,
    /// `error.type`.
    pub kind: Option<&'a str>,
    /// `error.param`: the request field that the error blames.
    pub param: Option<&'a str>,
    /// `error.message`.
    pub message: &'a str,
}

/// An error message in lower case, with and without what it quotes.
pub(super) struct ErrorText<'a> {
    pub(super) said: ErrorFields<'a>,
    all: String,
    unquoted: String,
}

impl<'a> ErrorText<'a> {
    pub(super) fn new(said: ErrorFields<'a>) -> Self {
        let all = said.message.to_lowercase();
        let unquoted = without_quotes(&all);
        Self { said, all, unquoted }
    }

    pub(super) fn is_code(&self, codes: &[&str]) -> bool {
        let is = |text: Option<&str>| text.is_some_and(|t| codes.iter().any(|c| t.eq_ignore_ascii_case(c)));
        is(self.said.code) || is(self.said.kind)
    }

    pub(super) fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.all.contains(word))
    }

    pub(super) fn plain_has(&self, words: &[&str]) -> bool {
        self.said.param.is_none() && words.iter().any(|word| self.unquoted.contains(word))
    }

    pub(super) fn blames_account(&self) -> bool {
        self.plain_has(ACCOUNT_WORDS)
    }

    pub(super) fn is_policy(&self) -> bool {
        self.is_code(POLICY_CODES) || self.has(POLICY_WORDS)
    }

    /// "Limit 6000, Used 0, Requested 7895": a 429 that never clears.
    pub(super) fn asks_more_than_limit(&self) -> bool {
        let after = |lead: &str| {
            let rest = self.all[self.all.rfind(lead)? + lead.len()..].trim_start();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse::<u64>().ok()
        };
        matches!((after("limit "), after("requested ")), (Some(limit), Some(asked)) if asked > limit)
    }

    /// Whether the error is about a field that this provider is known to reject.
    pub(super) fn names_refused_field(&self, profile: &ProviderProfile) -> bool {
        let fields = self.all.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut blamed = self.said.param.into_iter().chain(fields.filter(|word| word.len() > 3));
        let refusing = ["not supported", "unsupported", "extra_forbidden", "extra inputs", "unknown"];
        let refused = self.has(&refusing) || self.is_code(&["extra_forbidden", "unsupported_parameter"]);
        refused && blamed.any(|field| profile.refuses(field))
    }
}

/// `text` without what is in single, double or back quotes. An apostrophe inside a word is not a quote.
fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<char> = None;
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let inside_word = |next: Option<&char>| c == '\'' && next.is_some_and(|n| n.is_alphanumeric());
        match open {
            Some(quote) if c == quote && !inside_word(chars.peek()) => open = None,
            Some(_) => {}
            None if matches!(c, '"' | '`') || (c == '\'' && !before.is_alphanumeric()) => open = Some(c),
            None => out.push(c),
        }
        before = c;
    }
    out
}
