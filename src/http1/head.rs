//! What the heads of requests and of answers have in common. Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use memchr::memchr_iter;

use super::framing::BadFraming;

/// Where the head ends that `heard` begins with, if its empty line is at or behind `from`.
pub fn end(heard: &[u8], from: usize) -> Option<usize> {
    // The end of the last line may have come before.
    let from = from.saturating_sub(3);
    memchr_iter(b'\n', &heard[from..]).map(|at| from + at + 1).find_map(|line| match &heard[line..] {
        [b'\n', ..] => Some(line + 1),
        [b'\r', b'\n', ..] => Some(line + 2),
        _ => None,
    })
}

/// The headers among `fields`, as slices of the `head` they were found in.
///
/// # Errors
/// A name or a value that cannot be one.
pub fn headers(head: &Bytes, fields: &[httparse::Header<'_>]) -> Result<HeaderMap, BadFraming> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(BadFraming("a header that is none")) };
        headers.append(name, value);
    }
    Ok(headers)
}

/// HTTP/1.0 or 1.1.
pub fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// What `content-length` says. Said several times it must be the same each time.
///
/// # Errors
/// It is no number, or two.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, BadFraming> {
    let mut length = None;
    for value in words(headers, header::CONTENT_LENGTH) {
        // `parse` alone would take a sign.
        let number =
            value.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(value).ok()?.parse().ok());
        let number: u64 = number.flatten().ok_or(BadFraming("a content-length that is no number"))?;
        if length.is_some_and(|length| length != number) {
            return Err(BadFraming("two lengths that differ"));
        }
        length = Some(number);
    }
    Ok(length)
}

/// Whether, after a message with these headers, another may come on its connection.
pub fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let mut words = words(headers, header::CONNECTION);
    match version {
        Version::HTTP_10 => words.any(|word| word.eq_ignore_ascii_case(b"keep-alive")),
        _ => !words.any(|word| word.eq_ignore_ascii_case(b"close")),
    }
}

/// The words of a header that is a list.
pub fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
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
        for (heard, at) in [("a\r\n\r\nb", 5), ("a\n\nb", 3), ("a\r\n\nb", 4), ("a\n\r\nb", 4)] {
            for from in 0..at {
                assert_eq!(end(heard.as_bytes(), from), Some(at), "{heard:?} from {from}");
            }
        }
        assert_eq!(end(b"a\r\nb: c\r\n\r", 0), None);
    }
}
