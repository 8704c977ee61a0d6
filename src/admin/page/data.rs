//! What the page shows, before it is laid out.

use std::sync::Arc;

use crate::{
    admin::{Moment, Reloaded, history::History, view::TargetRow},
    admission::local::slots_view::SlotsView,
    call,
    events::Stamped,
    memory::stats::RecallCounts,
    upstream::Snapshot,
};

/// Targets shown at most; clients can create more by requesting targets by name.
pub(crate) const MAX_TARGETS: usize = 200;
/// Requests and users shown at most.
pub(crate) const MAX_ROWS: usize = 100;

/// The data of the page at one moment.
pub(crate) struct PageData<'a> {
    /// The moment it is of.
    pub at: Moment,
    /// The configuration in force and its targets.
    pub snapshot: &'a Snapshot,
    /// The targets, as in `/admin/providers`.
    pub rows: Vec<TargetRow>,
    /// The latency of the last minutes.
    pub history: Arc<History>,
    /// The requests in flight, oldest first.
    pub requests: Vec<call::CallView>,
    /// Users with slots or waiting requests.
    pub slots: SlotsView,
    /// The last events, newest first.
    pub past: Vec<Stamped>,
    /// Counts of recall, and whether its store is up; `None` without memory.
    pub memory: Option<(RecallCounts, bool)>,
    /// Whether Redis answers, and how many gateways share it; `None` without Redis.
    pub redis: Option<(bool, usize)>,
    /// The result of the last reload.
    pub last_reload: Option<Reloaded>,
}
