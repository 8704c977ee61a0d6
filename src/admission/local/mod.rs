//! Slots and limits of this process alone; nothing here knows of other gateways.

pub(crate) mod governor_clock;
pub(crate) mod queue;
pub(crate) mod rate;
pub(crate) mod release_rate;
pub mod slots;
pub(crate) mod slots_view;
pub(crate) mod sync_shim;
pub(crate) mod token_bucket;
pub(crate) mod usage_table;
