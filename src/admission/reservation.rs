//! Tokens that are held back for one call, wherever they are counted.

use super::{distributed::TokenHold, local::rate::LocalReservation, request::TokenCost};

/// What a call is thought to cost, and the tokens that are held back for it. Dropped without [`Reservation::settle`], it gives
/// all of them back.
#[derive(Debug, Default)]
pub struct Reservation {
    cost: TokenCost,
    held: HeldTokens,
}

/// Where the tokens are held back.
#[derive(Debug)]
pub(super) enum HeldTokens {
    /// In this gateway's own table; nowhere, if tokens are not limited.
    Local(LocalReservation),
    /// In Redis, for all gateways.
    Shared(TokenHold),
}

impl Reservation {
    /// For a call that may cost `cost`.
    pub(super) fn new(cost: Option<TokenCost>, held: HeldTokens) -> Self {
        Self { cost: cost.unwrap_or_default(), held }
    }

    /// What the call was thought to cost.
    pub fn cost(&self) -> TokenCost {
        self.cost
    }

    /// Tokens held back; 0 without a limit.
    pub fn tokens(&self) -> u64 {
        match &self.held {
            HeldTokens::Local(reservation) => reservation.tokens(),
            HeldTokens::Shared(hold) => hold.tokens,
        }
    }

    /// The call is over and has cost `spent` tokens: more than was reserved is owed, less is given back.
    pub fn settle(&mut self, spent: u64) {
        match std::mem::take(&mut self.held) {
            HeldTokens::Local(reservation) => reservation.settle(spent),
            HeldTokens::Shared(hold) => hold.settle(spent),
        }
    }
}

impl Default for HeldTokens {
    fn default() -> Self {
        Self::Local(LocalReservation::default())
    }
}
