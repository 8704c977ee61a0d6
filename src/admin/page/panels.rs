//! The other panels of the page: events, requests in flight, slots, and settings.

use std::time::SystemTime;

use super::{
    data::{MAX_ROWS, PageData},
    format::{self, PageTime},
};
use crate::{
    admin::Reloaded,
    admission::local::slots_view::{CountView, SlotsView, UserView},
    call::{self, Phase},
    events::{Event, Stamped},
};

/// One row of the event list.
pub(crate) struct Notice {
    /// When it happened, relative to now.
    pub when: PageTime,
    /// `good`, `soso` or `bad`.
    pub class: &'static str,
    /// What happened, in a few words.
    pub what: String,
    /// The reason and other details.
    pub details: String,
    /// The request, if it is about one.
    pub request: Option<String>,
}

/// One request in flight.
pub(crate) struct RequestLine<'a> {
    /// The row of `/admin/requests`.
    pub call: &'a call::CallView,
    /// Its shortened id.
    pub id: String,
    /// Its phase.
    pub phase: &'static str,
    /// Time since it was admitted.
    pub elapsed: String,
}

/// Slots by user, the busiest first.
pub(crate) struct SlotsPanel<'a> {
    /// The total of all users.
    pub total: CountView,
    /// One line per user, at most a hundred.
    pub users: Vec<SlotLine<'a>>,
    /// Number of users not shown.
    pub more: usize,
}

/// One user's slots and waiting requests.
pub(crate) struct SlotLine<'a> {
    /// The user and its slots.
    pub line: &'a UserView,
    /// Length of the bar, 0..100.
    pub bar: usize,
    /// `chat 2 of 10 · embeddings 1 of 10`
    pub operations: String,
}

/// The settings in force.
pub(crate) struct SettingsPanel<'a> {
    /// The configuration, with secrets redacted.
    pub config: String,
    /// The result of the last reload, and when it was.
    pub last_reload: Option<(&'a Reloaded, PageTime)>,
}

impl Notice {
    /// Formats `stamped` relative to `now`.
    pub(crate) fn new(stamped: &Stamped, now: SystemTime) -> Self {
        let (class, what, details, request) = match &stamped.event {
            Event::Failover { request, from, to, reason, elapsed_ms } => {
                let (class, to) = to.as_deref().map_or(("bad", "no other target"), |to| ("soso", to));
                let after = format::seconds(*elapsed_ms as f64 / 1000.0);
                let details = format!("{} · after {after}", without_prefix(reason, from));
                (class, format!("{from} → {to}"), details, Some(format::short(request)))
            }
            Event::State { target, state, reason } => {
                let (class, state) = match *state {
                    "closed" => ("good", "in service"),
                    "open" | "misconfigured" => ("bad", *state),
                    _ => ("soso", *state),
                };
                let what = format!("{target}: {}", state.replace('_', " "));
                (class, what, without_prefix(reason, target).to_owned(), None)
            }
            Event::Part { part, up } => {
                let (class, how) = if *up { ("good", "back") } else { ("bad", "away") };
                let (name, details) = part_in_words(part, *up);
                (class, format!("{name}: {how}"), details.to_owned(), None)
            }
            Event::Reload { ok, message } => {
                let (class, what) =
                    if *ok { ("good", "Configuration reloaded") } else { ("bad", "Reload refused") };
                (class, what.to_owned(), message.clone(), None)
            }
            // These are published live and never stored.
            Event::Score { .. } | Event::Tick { .. } => ("good", String::new(), String::new(), None),
        };
        Self { when: PageTime::new(&stamped.at, now), class, what, details, request }
    }
}

/// The name of a dependency, and the effect of its state.
fn part_in_words(part: &str, up: bool) -> (&'static str, &'static str) {
    match (part, up) {
        ("redis", true) => ("Redis", "Limits are shared by all gateways again."),
        ("redis", false) => ("Redis", "Each gateway applies its share, or refuses, as redis.on_error says."),
        (_, true) => ("Memory store", "Chats use memory again."),
        (_, false) => ("Memory store", "Chats continue without memory."),
    }
}

/// Reasons begin with the target's name, which the row shows already.
fn without_prefix<'a>(reason: &'a str, target: &str) -> &'a str {
    reason.strip_prefix(target).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(reason)
}

impl<'a> RequestLine<'a> {
    /// Formats one row of `/admin/requests`.
    pub(crate) fn new(call: &'a call::CallView) -> Self {
        let phase = match call.phase {
            Phase::Queued => "waiting for a slot",
            Phase::Waiting => "waiting for a target",
            Phase::Asking => "request sent, no content yet",
            Phase::Streaming => "streams",
            Phase::Rescuing => "stream broke, being rescued",
        };
        let elapsed = format::seconds(call.elapsed_ms as f64 / 1000.0);
        Self { call, id: format::short(&call.id), phase, elapsed }
    }
}

impl<'a> SlotsPanel<'a> {
    /// Formats `/admin/slots`, the busiest users first.
    pub(crate) fn new(view: &'a SlotsView) -> Self {
        let mut users: Vec<_> = view.users.iter().map(SlotLine::new).collect();
        users.sort_by_key(|slot| std::cmp::Reverse((slot.line.sum.waiting, slot.line.sum.in_use)));
        users.truncate(MAX_ROWS);
        Self { total: view.total, more: view.users.len() - users.len(), users }
    }
}

impl<'a> SlotLine<'a> {
    fn new(line: &'a UserView) -> Self {
        let of_operation =
            |(name, count): (&&str, &CountView)| format!("{name} {} of {}", count.in_use, count.limit);
        let operations: Vec<_> = line.operations.iter().map(of_operation).collect();
        let bar = 100 * line.sum.in_use / line.sum.limit.max(1);
        Self { line, bar: bar.min(100), operations: operations.join(" · ") }
    }
}

impl<'a> SettingsPanel<'a> {
    /// The settings at the moment of `sight`.
    pub(crate) fn new(sight: &'a PageData<'_>) -> Self {
        let masked = sight.snapshot.config.masked();
        let last_reload = sight.last_reload.as_ref();
        Self {
            config: format!("{masked:#}"),
            last_reload: last_reload.map(|reload| (reload, PageTime::new(&reload.at, sight.at.wall))),
        }
    }
}
