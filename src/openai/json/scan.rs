//! Scans JSON that was checked before: finds the ranges of values without reading what is in them.
//!
//! A body is checked from end to end once, by [`crate::openai::request_peek::peek`]. Later reads skip its strings with a
//! search for their ends, many bytes at a time. For text that is not JSON the result may be nonsense, but the scan must
//! never panic, recurse or loop for ever.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr, memchr2};

use super::fields;

/// The ranges of the items of an array, or of the keys and values of an object in turns.
pub(crate) struct Values<'a> {
    text: &'a [u8],
    at: usize,
}

/// The values in `text`, an array or an object; none in anything else.
pub(crate) fn values(text: &str) -> Values<'_> {
    let nests = matches!(text.as_bytes().first(), Some(b'[' | b'{'));
    Values { text: text.as_bytes(), at: if nests { 1 } else { text.len() } }
}

impl Iterator for Values<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.text.get(self.at..)?;
        let start =
            self.at + rest.iter().position(|byte| !matches!(byte, b',' | b':') && !is_blank(*byte))?;
        self.at = end(self.text, start)?;
        Some(start..self.at)
    }
}

/// The values of an object for `keys`; of a repeated key the last one.
pub(crate) fn members<'a, const N: usize>(object: &'a str, keys: [&str; N]) -> [Option<&'a str>; N] {
    let mut found = [None; N];
    if !object.starts_with('{') {
        return found;
    }
    let mut values = values(object);
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        if let Some(place) = keys.iter().position(|wanted| is_key(&object[key.clone()], wanted)) {
            found[place] = Some(&object[value]);
        }
    }
    found
}

fn is_key(written: &str, wanted: &str) -> bool {
    let inside = written.get(1..written.len() - 1);
    inside == Some(wanted)
        || (memchr(b'\\', written.as_bytes()).is_some()
            && fields::decoded(written) == Some(Cow::Borrowed(wanted)))
}

/// The end of the value that begins at `at`; `None` if there is none.
fn end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => end_of_string(text, at),
        b'{' | b'[' => end_of_nest(text, at),
        b'}' | b']' => None,
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_blank(*byte);
            Some(text[at..].iter().position(ends).map_or(text.len(), |length| at + length))
        }
    }
}

fn end_of_string(text: &[u8], quote: usize) -> Option<usize> {
    let mut at = quote + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        // An escaped character does not end the string.
        at += 2;
    }
}

fn end_of_nest(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0;
    loop {
        match text.get(at)? {
            b'"' => {
                at = end_of_string(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn values_lie_where_a_parser_finds_them() {
        let texts = [
            "[]",
            "[ ]",
            r#"["a",1,-2.5e3,true,null,[[],{}],{"b":"}]\"\\"}]"#,
            "[ 1e999 ,\r\n\"\\\\\" , \"\\u0022\",\t{\"a\" : [ 1 , \"]\" ] } ]",
            r#"["日本語",{"é":"🦀"},"\ud800"]"#,
        ];
        for text in texts {
            let parsed: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            let walked: Vec<&str> = values(text).map(|at| &text[at]).collect();
            assert_eq!(walked, parsed.iter().map(|raw| raw.get()).collect::<Vec<_>>(), "{text}");
        }
        for nothing in ["{ }", "1", "\"[1]\"", "null", ""] {
            assert_eq!(values(nothing).count(), 0, "{nothing}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_counts_however_it_is_written() {
        let object = r#"{"a": 1, "b" :{"a":"inner"},"a":[2,"}"] ,"\u0062":3,"\ud800":4, "":5}"#;
        assert_eq!(members(object, ["a", "b", "c", ""]), [Some(r#"[2,"}"]"#), Some("3"), None, Some("5")]);
        for nothing in ["{}", r#"["a",1]"#, "\"a\"", "1", ""] {
            assert_eq!(members(nothing, ["a"]), [None], "{nothing}");
        }
    }

    #[test]
    fn what_is_no_json_ends_and_does_no_harm() {
        let text = r#"{"a":[1,"b\"c",{"d":null}],"e":"é"}"#;
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..rng.usize(1..4) {
                let (at, with) = (rng.usize(..bytes.len()), *rng.choice(br#"{}[]",:\ 1"#).unwrap_or(&b' '));
                bytes[at] = with;
            }
            bytes.truncate(rng.usize(..=bytes.len()));
            let text = String::from_utf8_lossy(&bytes);
            assert!(values(&text).count() <= text.len());
            members(&text, ["a", "e"]);
        }
    }
}
