//! The running configuration as JSON, in the file's own names and notation, without its secrets.
//!
//! What a key shows comes from its row in the section's table, and by its type: a `Secret` cannot be shown.

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::{Config, setting::Shown};

/// Stands for every secret.
pub(crate) const MASK: &str = "***";

/// What stands in the place of a secret.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Secrets {
    /// Nothing of it, not even its length.
    Masked,
    /// Its digest, to see whether two are the same; never to be shown.
    Compared,
}

impl Secrets {
    /// Stands for `secret`.
    pub(crate) fn stand_in(self, secret: &[u8]) -> Json {
        match self {
            Self::Masked => json!(MASK),
            Self::Compared => json!(Sha256::digest(secret).to_vec()),
        }
    }
}

impl Config {
    /// Everything that runs, defaults included; absent optional keys are left out. For `GET /admin/config`.
    pub fn masked(&self) -> Json {
        self.shown(Secrets::Masked)
    }
}

/// An optional key that is not set is not written in the file either.
pub(crate) fn object<const N: usize>(keys: [(&str, Json); N]) -> Json {
    let set = keys.into_iter().filter(|(_, value)| !value.is_null());
    set.map(|(key, value)| (key.to_owned(), value)).collect()
}
