//! The targets and what we know of them.
//!
//! Read [`target`] first, then [`attempt`]. The algorithms are pure and stand alone: [`score`], [`breaker`],
//! [`outcome`], [`headroom`], [`retry_after`], [`histogram`]. This layer asks one target once; who is asked next
//! is decided in `dispatch`.

pub mod ask;
pub mod attempt;
mod body;
pub mod breaker;
pub mod client;
mod direct;
pub mod failure;
pub mod headroom;
pub mod histogram;
mod incoming;
pub mod outcome;
pub mod peers;
pub mod probe;
pub mod provider;
pub mod quirks;
pub mod retry_after;
pub mod score;
pub mod snapshot;
pub mod stream;
pub mod target;
pub mod tls;
pub mod view;

pub use attempt::Attempt;
pub use body::Parts;
pub use snapshot::{Model, Snapshot};
pub use target::{Access, Need, Standing, Target, Why};
pub use tls::http_client;
pub use view::{TargetState, TargetView};
