//! Texts with NUL, which people do send and PostgreSQL does not take: written with an escape, and read back as sent.
//!
//! Any other text is stored as it is, so that SQL shows what was said.

use std::borrow::Cow;

/// Stands before a character that was written otherwise. Private use, so it is in hardly any text.
const ESCAPE: char = '\u{F8FF}';

/// `text` without NUL.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => out.extend([ESCAPE, '0']),
            ESCAPE => out.extend([ESCAPE, '1']),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// What was [`escaped`].
pub(super) fn unescaped(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == ESCAPE) {
            (_, true) if chars.next() == Some('0') => out.push('\0'),
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_comes_back_and_none_has_a_nul(text in "[a\0\u{F8FF}01é]{0,12}") {
            let written = escaped(&text).into_owned();
            prop_assert!(!written.contains('\0'));
            prop_assert_eq!(unescaped(written), text);
        }
    }

    #[test]
    fn ordinary_texts_are_stored_as_they_are() {
        assert!(matches!(escaped("Grüße, 日本 🦀"), Cow::Borrowed(_)));
    }
}
