//! What the heads of requests and of responses have in common. Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use memchr::memchr_iter;

use super::body_framing::FramingError;

/// Where the head ends that `buffer` begins with; all before `from` was searched already. A line may end with a bare LF: a
/// recipient may read it so (RFC 9112, 2.2), and nobody else reads what a provider sends to us.
pub fn end(buffer: &[u8], from: usize) -> Option<usize> {
    memchr_iter(b'\n', &buffer[from..]).map(|at| from + at).find_map(|lf| {
        let line = &buffer[..lf];
        line.strip_suffix(b"\r").unwrap_or(line).ends_with(b"\n").then_some(lf + 1)
    })
}

/// The same of a request, where every line must end with CRLF: a proxy in front of us may not take a bare LF for an end.
///
/// # Errors
/// A bare LF before the end of the head.
pub fn end_of_request(buffer: &[u8], from: usize) -> Result<Option<usize>, FramingError> {
    for lf in memchr_iter(b'\n', &buffer[from..]).map(|at| from + at) {
        match &buffer[..lf] {
            [.., b'\n', b'\r'] => return Ok(Some(lf + 1)),
            [.., b'\r'] => {}
            _ => return Err(FramingError("a line ends with a bare LF")),
        }
    }
    Ok(None)
}

/// The headers among `fields`, as slices of the `head` they were found in.
///
/// # Errors
/// A name or a value that cannot be one.
pub fn headers(head: &Bytes, fields: &[httparse::Header<'_>]) -> Result<HeaderMap, FramingError> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(FramingError("invalid header")) };
        headers.append(name, value);
    }
    Ok(headers)
}

/// HTTP/1.0 or 1.1.
pub fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// What headers say about the body behind them and about their connection. They are gone over once: a look-up costs more
/// than passing a header by.
#[derive(Debug)]
pub struct FramingHeaders<'a> {
    /// `content-length`; several must be the same.
    pub length: Result<Option<u64>, FramingError>,
    /// It was a list.
    pub lists_lengths: bool,
    /// The last line of `transfer-encoding`.
    pub coding: Option<&'a [u8]>,
    /// There are several.
    pub codings: bool,
    /// The body comes after a 100 (Continue).
    pub expects_continue: bool,
    close: bool,
    keep_alive: bool,
}

impl<'a> FramingHeaders<'a> {
    /// Reads them from `headers`.
    pub fn new(headers: &'a HeaderMap) -> Self {
        let mut framing = Self {
            length: Ok(None),
            lists_lengths: false,
            coding: None,
            codings: false,
            expects_continue: false,
            close: false,
            keep_alive: false,
        };
        for (name, value) in headers {
            framing.observe(name, value.as_bytes());
        }
        framing
    }

    fn observe(&mut self, name: &HeaderName, value: &'a [u8]) {
        match name.as_str() {
            "content-length" => {
                self.lists_lengths |= value.contains(&b',');
                self.length = self.length.and_then(|known| words(value).try_fold(known, same_length));
            }
            "transfer-encoding" => self.codings = self.coding.replace(value).is_some(),
            "connection" => {
                self.close |= words(value).any(|word| word.eq_ignore_ascii_case(b"close"));
                self.keep_alive |= words(value).any(|word| word.eq_ignore_ascii_case(b"keep-alive"));
            }
            "expect" => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
    }

    /// Whether, after a message of this version, another may come on its connection.
    pub fn keeps_alive(&self, version: Version) -> bool {
        if version == Version::HTTP_10 { self.keep_alive } else { !self.close }
    }
}

/// `word` as a length, if it is one and the one that is known.
fn same_length(known: Option<u64>, word: &[u8]) -> Result<Option<u64>, FramingError> {
    let digit = |length: u64, byte: &u8| {
        let digit = char::from(*byte).to_digit(10)?;
        length.checked_mul(10)?.checked_add(digit.into())
    };
    let number = if word.is_empty() { None } else { word.iter().try_fold(0, digit) };
    match number {
        None => Err(FramingError("invalid content-length")),
        Some(number) if known.is_some_and(|known| known != number) => {
            Err(FramingError("conflicting content-length values"))
        }
        number => Ok(number),
    }
}

/// The words of a header that is a list.
pub fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// The digits of `number`, at the end of `room`: formatting would cost several times as much, for each of a dozen numbers.
pub fn digits(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_everybody_writes_them() {
        for n in [0, 1, 9, 10, 99, 100, 12_345_678_909, u64::MAX] {
            assert_eq!(digits(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }

    #[test]
    fn a_head_ends_at_its_empty_line_wherever_it_was_cut() {
        for (buffer, at) in [("a\r\n\r\nb", 5), ("a\n\nb", 3), ("a\r\n\nb", 4), ("a\n\r\nb", 4)] {
            for from in 0..at {
                assert_eq!(end(buffer.as_bytes(), from), Some(at), "{buffer:?} from {from}");
            }
        }
        for from in 0..5 {
            assert_eq!(end_of_request(b"a\r\n\r\nb\n", from), Ok(Some(5)), "from {from}");
        }
        assert_eq!(end(b"a\r\nb: c\r\n\r", 0), None);
        assert_eq!(end_of_request(b"a\r\nb: c\r\n\r", 0), Ok(None));
        for bare in ["\n", "a\n", "a\r\n\n", "a\r\nb: c\n", "a\n\r\n", "a\r\r\n\n"] {
            assert!(end_of_request(bare.as_bytes(), 0).is_err(), "{bare:?}");
        }
    }
}
