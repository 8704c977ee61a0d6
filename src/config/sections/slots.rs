//! `[slots]` and `[limits]`: what one user may have at once, and in a minute.

use std::{collections::BTreeMap, time::Duration};

use crate::config::{reader::value::Value, section_table::section};

/// What a slot is for. Each has its own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Chat completions, completions and responses.
    Chat,
    /// Embeddings.
    Embeddings,
    /// Reading a user's context.
    GetContext,
    /// Writing a user's context.
    UpdateContext,
    /// Everything else.
    Other,
}

impl Operation {
    /// All of them, each at the place of its number.
    pub const ALL: [Self; 5] =
        [Self::Chat, Self::Embeddings, Self::GetContext, Self::UpdateContext, Self::Other];

    /// The name in `[slots.operations]` and in every view.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::GetContext => "get_context",
            Self::UpdateContext => "update_context",
            Self::Other => "other",
        }
    }
}

impl AsRef<str> for Operation {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

section! {
    /// `[slots]`
    [slots] pub struct SlotsConfig(section) {
        /// Requests one user may have in flight, per operation.
        per_user: u32 = 10;
        /// Waiting requests per user.
        queue: u32 = 20, read |value| value.whole(0);
        /// Longest wait.
        queue_timeout: Duration = "10s";
        /// In flight over all users.
        total: u32 = 1000;
        /// Limit of each operation; it counts instead of `per_user`.
        operations: BTreeMap<Operation, u32> = (unwritten(per_user)), read |value| operations(value, per_user);
    }
}

impl SlotsConfig {
    /// Requests one user may have in flight of an operation.
    pub fn limit(&self, operation: Operation) -> u32 {
        self.operations.get(&operation).copied().unwrap_or(self.per_user)
    }
}

/// The rows of `[slots.operations]`: an operation that is not written follows `per_user`, for `per_user = 2` means two
/// chats, too. The context operations are short and write to disk, so of them there are at most four.
pub(in crate::config) const AT_MOST: [(Operation, u32); 4] = [
    (Operation::Chat, u32::MAX),
    (Operation::Embeddings, u32::MAX),
    (Operation::GetContext, 4),
    (Operation::UpdateContext, 4),
];

fn unwritten(per_user: u32) -> BTreeMap<Operation, u32> {
    AT_MOST.map(|(operation, at_most)| (operation, per_user.min(at_most))).into()
}

fn operations(value: &Value<'_>, per_user: u32) -> Option<BTreeMap<Operation, u32>> {
    let section = value.table()?;
    let limit = |(operation, usual): (Operation, u32)| {
        (operation, section.or(operation.as_str(), usual, Value::count))
    };
    let limits = unwritten(per_user).into_iter().map(limit).collect();
    section.refuse_unknown();
    Some(limits)
}

section! {
    /// `[limits]`; `None`: no limit.
    [limits] pub struct LimitsConfig {
        /// Requests a user may make per minute.
        requests_per_minute: Option<u32> = None;
        /// Tokens a user may use per minute.
        tokens_per_minute: Option<u32> = None;
    }
}
