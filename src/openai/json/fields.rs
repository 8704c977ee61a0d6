//! Reads untrusted JSON in one pass: only the fields asked for; the rest is checked and skipped.
//!
//! Unlike a derived `Deserialize` it is as lenient as the parsers of clients: about a repeated key (the last one wins),
//! a value of an unexpected type (taken as absent), numbers out of range, and escapes of lone surrogates in
//! values that are not decoded. It must never build a tree of what it skips, nor recurse into it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use bytes::{BufMut, BytesMut};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What is to be read from an object.
pub(crate) trait ObjectFields<'de>: Default {
    /// Reads the value of `key` from `map`; exactly one value must be taken.
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// What is to be read from an array, item by item.
pub(crate) trait Items<'de>: Default {
    /// The type each item is read as.
    type Item: Deserialize<'de>;
    /// Adds the next item.
    fn item(&mut self, item: Self::Item);
}

/// Skips a value, whatever its type.
pub(crate) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// An object read as `T`; anything else reads as `T::default()`.
#[derive(Debug, Default)]
pub(crate) struct JsonObject<T>(pub T);

impl<'de, T: ObjectFields<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient(ObjectOf(PhantomData))).map(JsonObject)
    }
}

/// An array folded into `T`; anything else reads as `T::default()`.
#[derive(Debug, Default)]
pub(crate) struct JsonList<T>(pub T);

impl<'de, T: Items<'de>> Deserialize<'de> for JsonList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient(ListOf(PhantomData))).map(JsonList)
    }
}

/// The one shape that a reader accepts; every other shape reads as the default.
trait Shape<'de>: Sized {
    type Value: Default;
    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::Value::default())
    }
    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::Value::default())
    }
}

struct ObjectOf<T>(PhantomData<T>);

impl<'de, T: ObjectFields<'de>> Shape<'de> for ObjectOf<T> {
    type Value = T;
    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut fields = T::default();
        while let Some(JsonKey(key)) = map.next_key()? {
            fields.field(&key, &mut map)?;
        }
        Ok(fields)
    }
}

struct ListOf<T>(PhantomData<T>);

impl<'de, T: Items<'de>> Shape<'de> for ListOf<T> {
    type Value = T;
    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        let mut items = T::default();
        while let Some(item) = list.next_element()? {
            items.item(item);
        }
        Ok(items)
    }
}

struct Lenient<S>(S);

impl<'de, S: Shape<'de>> Visitor<'de> for Lenient<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Value, A::Error> {
        self.0.object(map)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S::Value, A::Error> {
        self.0.list(list)
    }
    fn visit_unit<E>(self) -> Result<S::Value, E> {
        Ok(S::Value::default())
    }
    fn visit_bool<E>(self, _: bool) -> Result<S::Value, E> {
        Ok(S::Value::default())
    }
    fn visit_i64<E>(self, _: i64) -> Result<S::Value, E> {
        Ok(S::Value::default())
    }
    fn visit_u64<E>(self, _: u64) -> Result<S::Value, E> {
        Ok(S::Value::default())
    }
    fn visit_f64<E>(self, _: f64) -> Result<S::Value, E> {
        Ok(S::Value::default())
    }
    fn visit_str<E>(self, _: &str) -> Result<S::Value, E> {
        Ok(S::Value::default())
    }
}

/// A key: borrowed unless it is written with escapes.
struct JsonKey<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for JsonKey<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsKey;
        impl<'de> Visitor<'de> for AsKey {
            type Value = JsonKey<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<JsonKey<'de>, E> {
                Ok(JsonKey(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<JsonKey<'de>, E> {
                Ok(JsonKey(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(AsKey)
    }
}

/// Whether a value is set: not `null`, `false`, zero, or empty. (Python's rule, which the SDKs use.)
pub(crate) fn truthy(raw: &RawValue) -> bool {
    let text = raw.get();
    match text.as_bytes() {
        [b'{' | b'[', inner @ .., _] => !inner.iter().all(u8::is_ascii_whitespace),
        _ => !matches!(text, "null" | "false" | "\"\"" | "0" | "0.0" | "-0"),
    }
}

/// A JSON string decoded; `None` for another type, or for a string that is not valid Unicode (lone surrogates).
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    decoded(raw.get())
}

/// Like [`string`], of one JSON value as text.
pub(crate) fn decoded(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(text).ok().map(Cow::Owned)
}

/// The bytes between the quotes of a JSON string, escapes undecoded; `None` for another type.
pub(crate) fn quoted(raw: &RawValue) -> Option<&str> {
    raw.get().strip_prefix('"')?.strip_suffix('"')
}

/// Appends `text`, escaped as between the quotes of a JSON string.
pub(crate) fn escape(text: &str, to: &mut BytesMut) {
    let mut rest = text.as_bytes();
    loop {
        let (clean, special) = rest.split_at(clean(rest));
        to.extend_from_slice(clean);
        let Some((first, behind)) = special.split_first() else { return };
        escape_byte(*first, to);
        rest = behind;
    }
}

/// The number of bytes of `text` before the first that must be escaped.
fn clean(text: &[u8]) -> usize {
    // Without a branch per byte, so that the compiler can vectorize it.
    let is_clean =
        |chunk: &[u8; 16]| chunk.iter().fold(0, |special, byte| special | u8::from(is_special(*byte))) == 0;
    let (chunks, _) = text.as_chunks();
    let clean = 16 * chunks.iter().take_while(|chunk| is_clean(chunk)).count();
    let rest = &text[clean..];
    clean + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

fn is_special(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

fn escape_byte(byte: u8, to: &mut BytesMut) {
    match byte {
        b'"' | b'\\' => to.extend_from_slice(&[b'\\', byte]),
        b'\n' => to.extend_from_slice(b"\\n"),
        0..b' ' => to.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        _ => to.put_u8(byte),
    }
}

/// A count: a whole number, or one written as a float.
pub(crate) fn count(raw: &RawValue) -> Option<u64> {
    let text = raw.get();
    text.parse()
        .ok()
        .or_else(|| text.parse::<f64>().ok().filter(|n| *n >= 0.0 && n.is_finite()).map(|n| n as u64))
}

/// The value of a key of an object; the last one if the key is repeated.
pub(crate) fn get<'a>(raw: &'a RawValue, key: &str) -> Option<&'a RawValue> {
    struct Find<'k>(&'k str);
    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<&'de RawValue>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(JsonKey(key)) = map.next_key()? {
                match key == self.0 {
                    true => found = Some(map.next_value()?),
                    false => skip(&mut map)?,
                }
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(Find(key)).ok()?
}

/// The range of a value in `whole`, from which it was read.
pub(crate) fn range_in(whole: &str, raw: &RawValue) -> Range<usize> {
    let start = (raw.get().as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + raw.get().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_read_as_it_was() {
        let controls: String = (0..0x20).map(char::from).collect();
        let long = "a fence of sixteen: \"0123456789abcdef\" \\ and é🦀\u{2028}".repeat(9);
        for text in ["", "plain", "\"", "line\nline\n", "日本語", &controls, &long] {
            for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                let mut escaped = BytesMut::from(&b"\""[..]);
                escape(&text[cut..], &mut escaped);
                escaped.put_u8(b'"');
                assert_eq!(serde_json::from_slice::<String>(&escaped).unwrap(), &text[cut..]);
            }
        }
    }
}
