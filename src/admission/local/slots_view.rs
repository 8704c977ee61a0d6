//! What operators see of the slots: `/admin/slots`, the page and the metrics.

use std::collections::BTreeMap;

use serde::Serialize;

use super::queue::UseCount;
use crate::{admission::request::Operation, user::UserId};

/// `/admin/slots`: the users that run or wait. Those that do neither are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotsView {
    /// Over all users.
    pub total: CountView,
    /// By name.
    pub users: Vec<UserView>,
}

/// One user in `/admin/slots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserView {
    /// The user's id.
    pub user: String,
    /// Over the operations below.
    #[serde(flatten)]
    pub sum: CountView,
    /// By name, those that are in use.
    pub operations: BTreeMap<&'static str, CountView>,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CountView {
    /// Slots held.
    pub in_use: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Slots there are.
    pub limit: usize,
}

impl SlotsView {
    /// Over all users, by operation: for readers that must not know who the users are.
    pub fn by_operation(&self) -> BTreeMap<&'static str, CountView> {
        let nothing = Operation::ALL.map(|operation| (operation.as_str(), CountView::default()));
        let mut sums = BTreeMap::from(nothing);
        for (operation, count) in self.users.iter().flat_map(|user| &user.operations) {
            sums.entry(operation).or_default().add(*count);
        }
        sums
    }
}

impl UserView {
    /// What `user` has of each operation.
    pub(super) fn new(user: &UserId, counts: Vec<(Operation, UseCount)>) -> Self {
        let counts = counts.into_iter().map(|(operation, count)| (operation.as_str(), count.into()));
        let operations: BTreeMap<_, CountView> = counts.collect();
        let mut sum = CountView::default();
        operations.values().for_each(|count| sum.add(*count));
        Self { user: user.to_string(), sum, operations }
    }
}

impl CountView {
    fn add(&mut self, other: Self) {
        self.in_use += other.in_use;
        self.waiting += other.waiting;
        self.limit += other.limit;
    }
}

impl From<UseCount> for CountView {
    fn from(UseCount { in_use, waiting, limit }: UseCount) -> Self {
        Self { in_use, waiting, limit }
    }
}
