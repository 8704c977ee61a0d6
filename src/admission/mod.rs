//! May this user go now?
//!
//! [`crate::admission::local::slots`] bounds what runs at once and [`crate::admission::local::rate`] what is asked per minute; [`process_limits`] bounds what the process takes on from
//! all of them together. The first two count per user, and a user comes
//! only from authentication; neither knows what is asked of whom, nor how a refusal looks on the wire. [`failed_auth`] counts
//! those that are nobody's, and [`distributed`] counts over several gateways.

pub mod distributed;
pub mod failed_auth;
pub mod local;
pub mod process_limits;
pub mod rate_limit_headers;

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
