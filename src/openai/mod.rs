//! The OpenAI wire: what the bytes of requests, answers and streams mean.
//!
//! Everything here is a pure function of bytes. It must never do I/O, never import another module of the crate,
//! never panic on what a stranger sent, and never re-serialise what only has to be passed on: bodies and events are
//! looked at, sliced and spliced, so a parser on the other side sees exactly what was sent.
//!
//! | to do | use |
//! | --- | --- |
//! | cut a stream into events | [`sse::Framer`], [`sse::Run`] |
//! | know what one event means | [`stream_event::read`]; of a stream: [`stream_event::ChunkReader`] |
//! | judge a whole answer | [`response_check::judge`] |
//! | read an error, write ours | [`error::ProviderError`], [`error::body`] |
//! | learn what a request asks for | [`request_peek::peek`], [`multipart::peek`] |
//! | change a request without copying it | [`rewrite::Rewrite`], [`splice::SplicedParts`] |

pub mod answer_text;
pub mod conversation;
pub mod embeddings;
pub mod error;
pub(crate) mod json;
pub mod multipart;
pub mod request_body;
pub mod request_peek;
pub mod response_check;
pub mod rewrite;
pub mod splice;
pub mod sse;
pub mod stream_event;
pub mod usage;

/// Which of OpenAI's interfaces a call speaks: it decides what counts as content and what as the end.
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
    /// Any other path: passed on, with only the most general judgement.
    Other,
}

impl Api {
    /// Those with a path of their own, and that path below `/v1`, as below a provider's base URL.
    pub const PATHS: [(Self, &'static str); 4] = [
        (Self::Chat, "/chat/completions"),
        (Self::Completions, "/completions"),
        (Self::Responses, "/responses"),
        (Self::Embeddings, "/embeddings"),
    ];

    /// Whether we can tell a whole answer from a torn one.
    pub fn is_known(self) -> bool {
        !matches!(self, Self::Other)
    }
}
