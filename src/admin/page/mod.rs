//! `/admin` for people: one page, rendered here, useful without a script and alive with it.
//!
//! Model names come from clients and failures from providers: the templates escape every value, and the script moves what
//! arrives as text. [`policy`] lets the page use its own style and script, talk to its own origin, and nothing else.
//! The page must never show a secret, and [`sign_in`] must show nothing of the gateway at all.

mod chart;
mod format;
mod panels;
mod targets;

use std::sync::Arc;

use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use self::{
    panels::{Notice, RequestLine, SettingsPanel, SlotsPanel},
    targets::{ModelPanel, Status},
};
use super::{Moment, Reloaded, history::History, view::TargetRow};
use crate::{
    admission::local::slots_view::SlotsView, call, events::Stamped, memory::service::RecallCounts,
    upstream::Snapshot,
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Targets that are shown; clients can make more of them by asking for names of their own.
const MAX_TARGETS: usize = 200;
/// Requests, and users, that are shown.
const MAX_ROWS: usize = 100;

/// Everything that an operator may see at one moment.
pub struct PageData<'a> {
    /// The moment.
    pub at: Moment,
    /// The configuration in force and its targets.
    pub snapshot: &'a Snapshot,
    /// The targets, as in `/admin/providers`.
    pub rows: Vec<TargetRow>,
    /// Their last minutes.
    pub history: Arc<History>,
    /// The requests in flight, oldest first.
    pub requests: Vec<call::CallView>,
    /// Who holds slots and who waits.
    pub slots: SlotsView,
    /// What happened last, newest first.
    pub past: Vec<Stamped>,
    /// How recall goes, and whether its store is there; `None` without memory.
    pub memory: Option<(RecallCounts, bool)>,
    /// Whether Redis answers, and how many gateways share it; `None` without one.
    pub redis: Option<(bool, usize)>,
    /// How the last reload went.
    pub last_reload: Option<Reloaded>,
}

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

/// The page.
///
/// # Errors
/// The template cannot be filled: a bug of ours.
pub fn render(sight: &PageData<'_>) -> Result<String, askama::Error> {
    let models = targets::panels(sight);
    let page = PageTemplate {
        time: super::rfc3339(sight.at.wall),
        status: Status::of(&sight.rows),
        in_flight: sight.requests.len(),
        waiting: sight.slots.total.waiting,
        attempts: sight.rows.iter().map(|row| row.total_calls).sum(),
        models,
        more_targets: sight.rows.len().saturating_sub(MAX_TARGETS),
        news: sight.past.iter().map(|stamped| Notice::of(stamped, sight.at.wall)).collect(),
        requests: sight.requests.iter().take(MAX_ROWS).map(RequestLine::of).collect(),
        more_requests: sight.requests.len().saturating_sub(MAX_ROWS),
        slots: SlotsPanel::of(&sight.slots),
        memory: sight.memory,
        redis: sight.redis,
        settings: SettingsPanel::of(sight),
    };
    page.render()
}

/// The same page without anything on it: a form for the token, which stays in the browser's tab.
///
/// # Errors
/// The template cannot be filled: a bug of ours.
pub fn sign_in() -> Result<String, askama::Error> {
    SignIn.render()
}

/// The `content-security-policy` of the page: its style and script by hash, requests and forms to its own origin.
pub fn policy() -> String {
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
