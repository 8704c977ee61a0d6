//! The targets and what we know of them.
//!
//! Read [`target`] first, then [`crate::upstream::exchange::attempt`]. The algorithms are pure and stand alone: [`crate::upstream::health::score`], [`crate::upstream::health::breaker`],
//! [`crate::upstream::exchange::outcome`], [`crate::upstream::health::headroom`], [`crate::upstream::health::cooldown`], [`crate::upstream::health::latency`]. This layer asks one target once; who is asked next
//! is decided in `dispatch`.

pub mod client;
pub mod exchange;
pub mod health;
pub mod health_check;
pub mod provider;
pub mod target;

pub use client::tls::http_client;
pub use exchange::attempt::Attempt;
pub use exchange::request_body::SplicedBody;
pub use target::snapshot::{Model, Snapshot};
pub use target::view::{ReportedState, TargetView};
pub use target::{Availability, ChangeNotifier, Eligibility, IneligibleReason, RequestNeed, Target};
