//! Messages made from tables of heads, framings, chunks and line ends, each odd in one way.

mod chunks;
mod heads;
mod requests;
mod responses;

use http::Method;

pub use self::{requests::requests, responses::responses};

/// One message, or several on one connection.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is odd about it, from the family down.
    pub name: String,
    /// As on the wire.
    pub bytes: Vec<u8>,
    /// Of the request, if it is a response.
    pub method: Method,
}

impl Sample {
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into(), method: Method::GET }
    }
}

/// Where the fuzz target of this name begins. Many samples differ in little: a part of them leaves time for mutations.
pub fn of_target(name: &str) -> Vec<Vec<u8>> {
    let bytes = |samples: Vec<Sample>| samples.into_iter().step_by(4).map(|sample| sample.bytes).collect();
    match name {
        "request_head" => bytes(requests()),
        "response_head" => bytes(responses()),
        _ => chunks::CHUNKS
            .iter()
            .map(|(_, chunks)| chunks.to_vec())
            .chain([chunks::extensions(17_000)])
            .collect(),
    }
}
