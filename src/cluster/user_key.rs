//! A user's key in Redis: the same on every gateway, and not the user's name.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::user::UserId;

/// Characters of the key: 128 bits in base64.
const LENGTH: usize = 22;

/// Half a SHA-256 of a user's id. Ids are personal data that readers of Redis need not know. A guessed id can still be
/// checked against the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UserKey([u8; LENGTH]);

impl UserKey {
    /// The key of `user`.
    pub(crate) fn new(user: &UserId) -> Self {
        let digest = Sha256::digest(user.as_str().as_bytes());
        let mut text = [b'A'; LENGTH];
        // Sixteen bytes are twenty-two characters, so it always fits.
        let written = URL_SAFE_NO_PAD.encode_slice(&digest[..16], &mut text);
        debug_assert_eq!(written, Ok(LENGTH));
        Self(text)
    }

    /// As text: letters, digits, `-` and `_`.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_users_apart_and_does_not_change() {
        let key = |name: &str| UserKey::new(&UserId::authenticated(name).unwrap());
        // sha256("alice"), its first half in base64: other gateways, and other versions, must compute the same.
        assert_eq!(key("alice").as_str(), "K9gGyX8OAK8aH8Myj6djqQ");
        assert_ne!(key("alice"), key("Alice"));
        assert!(!key("alice").to_string().contains("alice"));
    }
}
