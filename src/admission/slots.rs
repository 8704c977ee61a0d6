//! A user's right to run one request.
//!
//! Every call holds a [`Slot`] to its last byte. How many slots a user has and who is next when they are
//! taken is not decided yet: a slot is given at once.

use crate::user::UserId;

/// The right of one user to run one request; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _user: UserId,
}

/// Gives out slots.
#[derive(Debug, Default)]
pub struct Slots;

impl Slots {
    /// A slot for `user`.
    pub async fn acquire(&self, user: &UserId) -> Slot {
        Slot { _user: user.clone() }
    }
}
