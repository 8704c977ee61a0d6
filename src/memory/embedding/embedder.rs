//! Where vectors come from, if not from the table in the binary.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use crate::memory::errors::EmbedError;

/// Makes vectors of texts. The texts are users' words: none may reach a log or an error.
pub(crate) trait TextEmbedder: Send + Sync + 'static {
    /// Model and length, by which vectors are told apart: those of another name are never compared with its own.
    fn id(&self) -> &Arc<str>;

    /// The vector of each text, within `limit`.
    fn embed<'a>(
        &'a self,
        texts: &'a [&'a str],
        purpose: EmbedPurpose,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>>;
}

/// What a vector is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmbedPurpose {
    /// A recall, whose chat waits.
    Query,
    /// A memory that is kept already.
    Memory,
}
