//! The user a request belongs to.
//!
//! Only authentication (`server::authn`) makes a [`UserId`]. Every store, queue and limit takes one,
//! so no code path can act for a user who was not authenticated.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, LazyLock},
};

/// Random per process: without it, anyone could identify a pseudonym by trying names.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The longest id, in bytes.
const MAX_LEN: usize = 256;
/// The id of [`UserId::anonymous`].
const ANONYMOUS: &str = "anonymous";
/// The id of [`UserId::gateway`].
const GATEWAY: &str = "(gateway)";

/// The id of an authenticated (or, in open mode, claimed) user.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The id shared by all requests without one.
    pub fn anonymous() -> Self {
        Self(Arc::from(ANONYMOUS))
    }

    /// Whether it is [`UserId::anonymous`].
    pub fn is_anonymous(&self) -> bool {
        &*self.0 == ANONYMOUS
    }

    /// The gateway itself, for its own requests to providers. No client can claim it, and it has no memory.
    pub(crate) fn gateway() -> Self {
        Self(Arc::from(GATEWAY))
    }

    /// Whether it is [`UserId::gateway`].
    pub(crate) fn is_gateway(&self) -> bool {
        &*self.0 == GATEWAY
    }

    /// `id` if it is valid: not empty, not longer than 256 bytes, without control characters, not the gateway's.
    pub(crate) fn authenticated(id: &str) -> Option<Self> {
        let id = id.trim();
        let sane =
            !id.is_empty() && id.len() <= MAX_LEN && id != GATEWAY && !id.chars().any(char::is_control);
        sane.then(|| Self(Arc::from(id)))
    }

    /// The user's name in the log: the same for as long as the process runs, and not the user's name.
    pub fn pseudonym(&self) -> Pseudonym {
        Pseudonym(KEY.hash_one(&self.0))
    }

    /// The id as text; logs take the pseudonym instead.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A keyed hash of a user's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pseudonym(u64);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
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
    fn a_pseudonym_tells_users_apart_and_names_nobody() {
        let (ann, bob) = (UserId::authenticated("ann").unwrap(), UserId::authenticated("bob").unwrap());
        assert_eq!(ann.pseudonym(), ann.pseudonym());
        assert_ne!(ann.pseudonym(), bob.pseudonym());
        assert_eq!(ann.pseudonym().to_string().len(), 16);
        assert_ne!(ann.pseudonym().0, RandomState::new().hash_one(&ann.0), "the key is not the default one");
    }

    #[test]
    fn only_sane_ids_are_ids() {
        assert_eq!(UserId::authenticated(" alice ").unwrap().as_str(), "alice");
        assert!(UserId::authenticated("Zoë 🦀").is_some());
        for bad in ["", "  ", "a\nb", "a\0b", " (gateway) ", &"x".repeat(257)] {
            assert!(UserId::authenticated(bad).is_none(), "{bad:?}");
        }
    }
}
