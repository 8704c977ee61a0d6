//! Why there is no response, or no more of it.

use std::io;

use crate::http1::body_framing::FramingError;

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// The socket failed: reset, timed out.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side closed it too early.
    #[error("the connection was closed before the end of the answer")]
    Closed,
    /// The head is invalid.
    #[error("the answer's head is not HTTP/1.1: {0}")]
    Head(#[from] httparse::Error),
    /// The head is larger than we read.
    #[error("the answer's head is too large")]
    HeadTooLarge,
    /// Its length cannot be known.
    #[error(transparent)]
    Framing(#[from] FramingError),
}
