//! The targets, their measured health, and the exchange with a provider.
//!
//! Read [`target`] first, then [`exchange::attempt`]. The algorithms are pure and independent: [`health::score`],
//! [`health::breaker`], [`exchange::outcome`], [`health::headroom`], [`health::cooldown`], [`health::latency`]. This
//! layer sends one request to one target; `dispatch` decides which target is tried next.

pub(crate) mod client;
pub mod exchange;
pub mod health;
pub(crate) mod health_check;
pub(crate) mod provider;
pub(crate) mod target;

pub use exchange::attempt::Attempt;
pub use exchange::request_body::SplicedBody;
pub use target::model::Model;
pub use target::snapshot::Snapshot;
pub use target::view::{ReportedState, TargetView};
pub use target::{Availability, ChangeNotifier, Eligibility, IneligibleReason, RequestNeed, Target};
