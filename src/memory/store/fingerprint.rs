//! Hashes that a store keeps in place of words: of an idempotency key, of what was written under it, of a session.

use sha2::{Digest, Sha256};

use super::{Batch, NewMemory};

/// How long an idempotency key is known, in milliseconds.
pub(crate) const KEPT: i64 = 24 * 3600 * 1000;

/// An idempotency key with what is to be written under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub key: [u8; 32],
    pub content: [u8; 32],
}

impl Fingerprint {
    /// That of `batch`, if it has a key.
    pub(crate) fn from_batch(batch: &Batch) -> Option<Self> {
        let key = batch.idempotency_key.as_ref()?;
        let mut content = Sha256::new();
        for memory in &batch.memories {
            digest(memory, &mut content);
        }
        Some(Self { key: Sha256::digest(key).into(), content: content.finalize().into() })
    }
}

/// What an index of sessions holds instead of their names.
pub(super) fn session_key(session: &str) -> i64 {
    let digest = Sha256::digest(session);
    digest[..8].iter().fold(0, |key, byte| (key << 8) | i64::from(*byte))
}

/// What the client has sent of a memory, and nothing that was made of it.
fn digest(memory: &NewMemory, into: &mut Sha256) {
    let NewMemory { session, role, speaker, text, created_at, metadata, tokens: _, embedding: _ } = memory;
    let at = created_at.map(|at| at.0.to_string());
    let fields =
        [session.as_deref(), Some(role), speaker.as_deref(), Some(text), at.as_deref(), metadata.as_deref()];
    for field in fields {
        into.update([u8::from(field.is_some())]);
        let field = field.unwrap_or_default();
        // With its length before it no field can pass for the end of another.
        into.update(field.len().to_le_bytes());
        into.update(field);
    }
}
