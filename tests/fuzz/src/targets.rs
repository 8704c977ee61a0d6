//! The properties. Each takes any bytes, panics if one does not hold, and returns a mark of what happened: inputs of the
//! same mark are alike.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::BytesMut;
use concierge::http1::body_framing::{Decoder, FramingError};
use http::Method;

use crate::{
    ours, peer,
    reading::{End, Reading, write_chunks},
    wire::cut,
};

/// A property.
pub type Target = fn(&[u8]) -> u64;

/// All of them by name.
pub const TARGETS: &[(&str, Target)] =
    &[("request_head", request_head), ("response_head", response_head), ("chunked", chunked)];

/// Requests on one connection: read the same however they are cut, written and read again they are the same, and hyper
/// finds no other meaning in them.
pub fn request_head(input: &[u8]) -> u64 {
    let whole = ours::requests(input, &[]);
    for cuts in cuts(input) {
        assert_eq!(whole, ours::requests(input, &cuts), "cut at {cuts:?} it is something else");
    }
    let hyper = peer::requests(input);
    let excused = whole.end == End::Http2;
    assert!(excused || !whole.contradicts(&hyper), "hyper reads it otherwise:\n{whole:?}\n{hyper:?}");
    if whole.is_whole() {
        let again = whole.write();
        let read = ours::requests_within(&again, &[], again.len().max(ours::MAX_HEAD));
        assert_eq!(whole.messages, read.messages, "written again as {:?}", again.escape_ascii().to_string());
        let read = peer::requests(&again);
        assert_eq!(whole.messages, read.messages, "hyper reads otherwise what was written again");
    }
    mark(&whole)
}

/// A response: the same properties.
pub fn response_head(input: &[u8]) -> u64 {
    let method = if input.len() % 4 == 3 { Method::HEAD } else { Method::GET };
    let whole = ours::response(input, &[], &method);
    for cuts in cuts(input) {
        assert_eq!(whole, ours::response(input, &cuts, &method), "cut at {cuts:?} it is something else");
    }
    let hyper = peer::response(input, &method);
    assert!(!whole.contradicts(&hyper), "hyper reads it otherwise:\n{whole:?}\n{hyper:?}");
    if whole.is_whole() {
        let again = whole.write();
        let read = ours::response(&again, &[], &method);
        assert_eq!(whole.messages, read.messages, "written again as {:?}", again.escape_ascii().to_string());
    }
    mark(&whole)
}

/// A body in chunks: the same properties of the decoder alone. It never makes more of the input than there was, and takes
/// nothing that hyper refuses, but trailers, which it drops unread.
pub fn chunked(input: &[u8]) -> u64 {
    let whole = decoded(input, &[]);
    assert!(whole.run.len() + whole.left.len() <= input.len());
    for cuts in cuts(input) {
        assert_eq!(whole, decoded(input, &cuts), "cut at {cuts:?} it is something else");
    }
    let hyper = peer::requests(&[b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", input].concat());
    let hyper = hyper.messages.into_iter().next().and_then(|message| message.body);
    if whole.is_over {
        let stricter = hyper.is_none() && has_trailers(&input[..input.len() - whole.left.len()]);
        assert!(stricter || hyper.as_ref() == Some(&whole.run), "hyper reads it otherwise: {hyper:?}");
        let mut again = Vec::new();
        write_chunks(&whole.run, &mut again);
        let read = decoded(&again, &[]);
        assert!(read.is_over && read.left.is_empty() && read.run == whole.run, "written again");
    }
    hash(&(whole.is_over, whole.error.map(|error| error.0), whole.run.len().min(64), whole.left.is_empty()))
}

/// Whether a whole body ends with a trailer: without its last line it would be whole as well.
fn has_trailers(body: &[u8]) -> bool {
    let lines = &body[..body.len().saturating_sub(4)];
    let last = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    decoded(&[&body[..last], b"\r\n"].concat(), &[]).is_over
}

#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    run: Vec<u8>,
    /// What came after the end.
    left: Vec<u8>,
    is_over: bool,
    error: Option<FramingError>,
}

fn decoded(input: &[u8], cuts: &[usize]) -> Decoded {
    let (mut decoder, mut run, mut left) = (Decoder::chunked(), BytesMut::new(), Vec::new());
    let mut error = None;
    for mut piece in cut(input, cuts) {
        if let Err(found) = decoder.decode(&mut piece, &mut run) {
            error = Some(found);
            break;
        }
        left.extend_from_slice(piece);
    }
    Decoded { run: run.to_vec(), left, is_over: error.is_none() && decoder.is_over(), error }
}

/// Where to cut `input`: at one place, at a few, everywhere if it is short. They depend on it alone, so that an input that
/// fails fails again.
fn cuts(input: &[u8]) -> impl Iterator<Item = Vec<usize>> {
    let mut random = fastrand::Rng::with_seed(hash(&input));
    let length = input.len().max(1);
    let one = vec![random.usize(..length)];
    let mut few: Vec<usize> = std::iter::repeat_with(|| random.usize(..length)).take(6).collect();
    few.sort_unstable();
    let every = (length <= 300).then(|| (1..length).collect());
    [Some(one), Some(few), every].into_iter().flatten()
}

fn mark(reading: &Reading) -> u64 {
    let refusal = match &reading.end {
        End::Refused(words) => words.as_str(),
        End::Closed => "closed",
        End::Http2 => "HTTP/2",
    };
    let shape = |message: &crate::reading::Message| {
        let names: Vec<&str> = message.headers.iter().take(4).map(|(name, _)| name.as_str()).collect();
        let body = message.body.as_ref().map(|body| body.len().min(32));
        hash(&(message.start.get(..12), names, body))
    };
    hash(&(refusal, reading.messages.iter().take(3).map(shape).collect::<Vec<_>>()))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
