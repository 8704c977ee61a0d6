//! The right to run one request, which everything outside of admission holds.

use super::{
    distributed::{GrantedLease, RequestedLease},
    local::slots::LocalSlot,
};

/// The right of one user to run one request: in this gateway and, where gateways share a Redis, over all of them. A call holds
/// it to its last byte; dropping it, for whatever reason, gives it back.
#[derive(Debug)]
pub struct Slot {
    /// Dropped first, so that whoever gets the local slot next finds the lease given back.
    _lease: Option<Box<GrantedLease>>,
    _local: LocalSlot,
}

/// A slot of this gateway that was free when its request was counted. Its lease may have to be waited for.
#[derive(Debug)]
pub struct EarlySlot {
    /// Dropped first, as in [`Slot`].
    pub(super) lease: RequestedLease,
    pub(super) local: LocalSlot,
}

impl Slot {
    /// What is whole: `lease` is `None` where gateways share nothing.
    pub(super) fn new(local: LocalSlot, lease: Option<Box<GrantedLease>>) -> Self {
        Self { _lease: lease, _local: local }
    }
}
