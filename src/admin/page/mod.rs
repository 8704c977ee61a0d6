//! `/admin` as an HTML page, rendered here: complete without a script, updated live with one.
//!
//! Model names come from clients and failures from providers, so the templates escape every value and the script inserts
//! what arrives as text. [`policy`] lets the page use its own style and script, talk to its own origin, and nothing else.
//! The page must never show a secret, and [`sign_in`] must show nothing of the gateway at all.

mod chart;
mod data;
mod format;
mod panels;
mod targets;

use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

pub(crate) use self::data::PageData;
use self::{
    data::{MAX_ROWS, MAX_TARGETS},
    panels::{Notice, RequestLine, SettingsPanel, SlotsPanel},
    targets::{ModelPanel, Status},
};
use crate::memory::stats::RecallCounts;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    time: String,
    status: Status,
    in_flight: usize,
    waiting: usize,
    attempts: u64,
    models: Vec<ModelPanel<'a>>,
    more_targets: usize,
    news: Vec<Notice>,
    requests: Vec<RequestLine<'a>>,
    more_requests: usize,
    slots: SlotsPanel<'a>,
    memory: Option<(RecallCounts, bool)>,
    redis: Option<(bool, usize)>,
    settings: SettingsPanel<'a>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn;

/// Renders the page.
///
/// # Errors
/// The template fails: a bug of ours.
pub(crate) fn render(sight: &PageData<'_>) -> Result<String, askama::Error> {
    let models = targets::panels(sight);
    let page = PageTemplate {
        time: super::rfc3339(sight.at.wall),
        status: Status::new(&sight.rows),
        in_flight: sight.requests.len(),
        waiting: sight.slots.total.waiting,
        attempts: sight.rows.iter().map(|row| row.total_calls).sum(),
        models,
        more_targets: sight.rows.len().saturating_sub(MAX_TARGETS),
        news: sight.past.iter().map(|stamped| Notice::new(stamped, sight.at.wall)).collect(),
        requests: sight.requests.iter().take(MAX_ROWS).map(RequestLine::new).collect(),
        more_requests: sight.requests.len().saturating_sub(MAX_ROWS),
        slots: SlotsPanel::new(&sight.slots),
        memory: sight.memory,
        redis: sight.redis,
        settings: SettingsPanel::new(sight),
    };
    page.render()
}

/// Renders the page without data: a form for the token, which stays in the browser's tab.
///
/// # Errors
/// The template fails: a bug of ours.
pub(crate) fn sign_in() -> Result<String, askama::Error> {
    SignIn.render()
}

/// The `content-security-policy` of the page: its style and script by hash, requests and forms to its own origin.
pub(crate) fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

#[cfg(test)]
mod tests;
