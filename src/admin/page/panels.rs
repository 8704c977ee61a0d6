//! The rest of the page: what happened, who runs, who waits, and what is in force.

use std::time::SystemTime;

use super::{
    MAX_ROWS, PageData,
    format::{self, PageTime},
};
use crate::{
    admin::Reloaded,
    admission::local::slots_view::{CountView, SlotsView, UserView},
    call::{self, Phase},
    events::{Event, Stamped},
};

/// One line of what happened.
pub struct Notice {
    /// When.
    pub when: PageTime,
    /// `good`, `soso` or `bad`.
    pub class: &'static str,
    /// Who did what.
    pub what: String,
    /// Why, and what about it.
    pub details: String,
    /// The request, if it is about one.
    pub request: Option<String>,
}

/// One request in flight.
pub struct RequestLine<'a> {
    /// What it is.
    pub call: &'a call::CallView,
    /// Its id, not all of it.
    pub id: String,
    /// Where it is.
    pub phase: &'static str,
    /// Since it was admitted.
    pub elapsed: String,
}

/// Slots by user.
pub struct SlotsPanel<'a> {
    /// Over all users.
    pub total: CountView,
    /// By name.
    pub users: Vec<SlotLine<'a>>,
    /// Users that are not shown.
    pub more: usize,
}

/// One user.
pub struct SlotLine<'a> {
    /// Who, and how many.
    pub line: &'a UserView,
    /// Of a bar 100 wide.
    pub bar: usize,
    /// `chat 2 of 10 · embeddings 1 of 10`
    pub operations: String,
}

/// What is in force.
pub struct SettingsPanel<'a> {
    /// The configuration, masked.
    pub config: String,
    /// How the last reload went, and when.
    pub last_reload: Option<(&'a Reloaded, PageTime)>,
}

impl Notice {
    /// `stamped`, as of `now`.
    pub fn of(stamped: &Stamped, now: SystemTime) -> Self {
        let (class, what, details, request) = match &stamped.event {
            Event::Failover { request, from, to, reason, elapsed_ms } => {
                let (class, to) = to.as_deref().map_or(("bad", "nobody else"), |to| ("soso", to));
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
            // These are told and not kept.
            Event::Score { .. } | Event::Tick { .. } => ("good", String::new(), String::new(), None),
        };
        Self { when: PageTime::of(&stamped.at, now), class, what, details, request }
    }
}

/// What it is called, and what its absence means.
fn part_in_words(part: &str, up: bool) -> (&'static str, &'static str) {
    match (part, up) {
        ("redis", true) => ("Redis", "Gateways count together again."),
        ("redis", false) => ("Redis", "Each gateway counts for itself, or refuses, as redis.on_error says."),
        (_, true) => ("Memory store", "Chats have their memory again."),
        (_, false) => ("Memory store", "Chats go on without memory."),
    }
}

/// Reasons begin with the target's name, which stands beside them already.
fn without_prefix<'a>(reason: &'a str, target: &str) -> &'a str {
    reason.strip_prefix(target).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(reason)
}

impl<'a> RequestLine<'a> {
    /// One line of `/admin/requests`.
    pub fn of(call: &'a call::CallView) -> Self {
        let phase = match call.phase {
            Phase::Queued => "waits for a slot",
            Phase::Waiting => "waits for a target",
            Phase::Asking => "asked, no content yet",
            Phase::Streaming => "streams",
            Phase::Rescuing => "broke, is being rescued",
        };
        let elapsed = format::seconds(call.elapsed_ms as f64 / 1000.0);
        Self { call, id: format::short(&call.id), phase, elapsed }
    }
}

impl<'a> SlotsPanel<'a> {
    /// `/admin/slots`, the busiest first.
    pub fn of(view: &'a SlotsView) -> Self {
        let mut users: Vec<_> = view.users.iter().map(SlotLine::of).collect();
        users.sort_by_key(|slot| std::cmp::Reverse((slot.line.sum.waiting, slot.line.sum.in_use)));
        users.truncate(MAX_ROWS);
        Self { total: view.total, more: view.users.len() - users.len(), users }
    }
}

impl<'a> SlotLine<'a> {
    fn of(line: &'a UserView) -> Self {
        let of_operation =
            |(name, count): (&&str, &CountView)| format!("{name} {} of {}", count.in_use, count.limit);
        let operations: Vec<_> = line.operations.iter().map(of_operation).collect();
        let bar = 100 * line.sum.in_use / line.sum.limit.max(1);
        Self { line, bar: bar.min(100), operations: operations.join(" · ") }
    }
}

impl<'a> SettingsPanel<'a> {
    /// What is in force at the moment of `sight`.
    pub fn of(sight: &'a PageData<'_>) -> Self {
        let masked = sight.snapshot.config.masked();
        let last_reload = sight.last_reload.as_ref();
        Self {
            config: format!("{masked:#}"),
            last_reload: last_reload.map(|reload| (reload, PageTime::of(&reload.at, sight.at.wall))),
        }
    }
}
