//! OpenAI's wire format: what the bytes of requests, answers and streams mean.
//!
//! Everything here is a pure function of bytes. It must never do I/O, never import another module of the crate,
//! never panic on untrusted input, and never re-serialise what only has to be relayed: bodies and events are
//! read, sliced and spliced, so the receiver gets exactly the bytes that were sent.
//!
//! | task | use |
//! | --- | --- |
//! | split a stream into events | [`sse::Framer`], [`sse::Run`] |
//! | classify one event | [`stream_event::read`]; of a stream: [`stream_event::ChunkReader`] |
//! | check a whole answer | [`response_check::judge`] |
//! | read an error, write our own | [`error::ProviderError`], [`error::body`] |
//! | read what routing needs of a request | [`request_peek::peek`], [`multipart::peek`] |
//! | change a request without copying it | [`rewrite::Rewrite`], [`splice::SplicedParts`] |

pub(crate) mod answer_text;
pub(crate) mod conversation;
pub(crate) mod embeddings;
pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod multipart;
pub(crate) mod request_body;
pub(crate) mod request_peek;
pub(crate) mod response_check;
pub(crate) mod rewrite;
pub(crate) mod splice;
pub(crate) mod sse;
pub(crate) mod stream_event;
pub(crate) mod usage;

/// The API family of a call: decides what counts as content and what as the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// `/v1/embeddings`
    Embeddings,
    /// Any other path: relayed, with only the most general checks.
    Other,
}

impl Api {
    /// The APIs with a path of their own, and that path below `/v1`, as below a provider's base URL.
    pub const PATHS: [(Self, &'static str); 4] = [
        (Self::Chat, "/chat/completions"),
        (Self::Completions, "/completions"),
        (Self::Responses, "/responses"),
        (Self::Embeddings, "/embeddings"),
    ];

    /// Whether we can distinguish a complete answer from a truncated one.
    pub fn is_known(self) -> bool {
        !matches!(self, Self::Other)
    }
}
