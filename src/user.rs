//! Who a request is for.
//!
//! A [`UserId`] comes from authentication alone (`server::auth`): every store, queue and limit takes one,
//! so no code path can act for a user whom nobody vouched for.

use std::{fmt, sync::Arc};

/// Longer ids are not ids.
const MAX_LEN: usize = 256;
/// See [`UserId::gateway`].
const GATEWAY: &str = "(gateway)";

/// The id of an authenticated (or, in open mode, claimed) user.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The id of everybody who did not say who they are.
    pub fn anonymous() -> Self {
        Self(Arc::from("anonymous"))
    }

    /// The gateway itself, where it asks a provider something of its own. Nobody can claim it, and it has no memory.
    pub(crate) fn gateway() -> Self {
        Self(Arc::from(GATEWAY))
    }

    /// Whether it is [`UserId::gateway`].
    pub(crate) fn is_gateway(&self) -> bool {
        &*self.0 == GATEWAY
    }

    /// `id` if it can be one: not empty, not longer than 256 bytes, without control characters, not the gateway's.
    pub(crate) fn authenticated(id: &str) -> Option<Self> {
        let id = id.trim();
        let sane =
            !id.is_empty() && id.len() <= MAX_LEN && id != GATEWAY && !id.chars().any(char::is_control);
        sane.then(|| Self(Arc::from(id)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_ids_are_ids() {
        assert_eq!(UserId::authenticated(" alice ").unwrap().as_str(), "alice");
        assert!(UserId::authenticated("Zoë 🦀").is_some());
        for bad in ["", "  ", "a\nb", "a\0b", " (gateway) ", &"x".repeat(257)] {
            assert!(UserId::authenticated(bad).is_none(), "{bad:?}");
        }
    }
}
