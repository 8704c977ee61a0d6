//! Whether a conversation shows a turn already: the same words as a whole, however they are wrapped.
//!
//! Pure. Each recall asks it of up to hundreds of turns and all messages, so what depends on the turn alone is worked out
//! once, when it is indexed ([`SubstringHint`]), and no search is prepared for what is nearly never there.

use std::borrow::Cow;

use memchr::{memchr_iter, memmem};

/// Bytes of a turn among which the rarest is looked for.
const HEAD: usize = 32;
/// Places of that byte at which is looked for the turn one by one.
const TRIES: usize = 32;

/// What is known of a turn's text before it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubstringHint {
    is_plain: bool,
    /// Where in its plain text the byte stands that most texts have least of.
    rare: u8,
}

impl SubstringHint {
    /// That of `text`.
    pub(crate) fn new(text: &str) -> Self {
        let plain = plain(text);
        let head = plain.bytes().enumerate().take(HEAD);
        let rarest = head.min_by_key(|(_, byte)| FREQUENCY[usize::from(*byte)]);
        let rare = rarest.and_then(|(at, _)| u8::try_from(at).ok()).unwrap_or(0);
        Self { is_plain: matches!(plain, Cow::Borrowed(_)), rare }
    }

    /// `text`, of which this is the clue, as [`plain`] makes it.
    pub(crate) fn plain(self, text: &str) -> Cow<'_, str> {
        if self.is_plain { Cow::Borrowed(text) } else { plain(text) }
    }

    /// Whether the message has these words as a whole: "I like tea" is not in "I like teamwork". Both are plain, and this
    /// is the clue of the words.
    pub(crate) fn leads_to(self, words: &str, message: &str) -> bool {
        let (words, text) = (words.as_bytes(), message.as_bytes());
        let at = usize::from(self.rare);
        let Some(rare) = words.get(at) else { return false };
        let mut places = memchr_iter(*rare, text);
        for place in places.by_ref().take(TRIES) {
            let start = place.checked_sub(at).filter(|start| text[*start..].starts_with(words));
            if start.is_some_and(|start| stands_alone(message, start, words.len())) {
                return true;
            }
        }
        // A byte that is everywhere. What takes longer to begin with never takes long.
        places.next().is_some()
            && memmem::find_iter(text, words).any(|start| stands_alone(message, start, words.len()))
    }
}

fn stands_alone(message: &str, start: usize, length: usize) -> bool {
    let before = message[..start].chars().next_back();
    let after = message[start + length..].chars().next();
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !inside(before) && !inside(after)
}

/// The text with single blanks between its words, so that a re-wrapped message is still the same.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if has_single_blanks(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    Cow::Owned(plain)
}

/// Whether `text` is plain as it is, which most is and which is seen faster than its words; of other scripts nothing is said.
fn has_single_blanks(text: &[u8]) -> bool {
    // Without a branch per byte, so that it is done many bytes at a time.
    let odd = text.iter().fold(0, |odd, byte| odd | u8::from(byte.wrapping_sub(b' ') > b'~' - b' '));
    let pairs = text.iter().zip(text.get(1..).unwrap_or_default());
    let double = pairs.fold(0, |double, (one, next)| double | u8::from((*one == b' ') & (*next == b' ')));
    let edges = [text.first(), text.last()];
    (odd | double) == 0 && !edges.contains(&Some(&b' '))
}

/// How often a byte stands in texts, beside others. A wrong guess costs time and nothing else.
const FREQUENCY: [u8; 256] = {
    let mut frequency = [0; 256];
    let common = b"zqxjkvbpygfwmucldrhsnioate ";
    let mut rank = 0;
    while rank < common.len() {
        frequency[common[rank] as usize] = rank as u8 + 2;
        rank += 1;
    }
    // Of other scripts: a letter's first byte is shared by many letters.
    let mut byte = 0x80;
    while byte < 0x100 {
        frequency[byte] = if byte < 0xc0 { 1 } else { u8::MAX };
        byte += 1;
    }
    frequency
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_has_single_blanks() {
        let long = "a word and ".repeat(9);
        for text in
            ["", "tea", "a b c ~", " a", "a ", "a  b", "a\n\tb\u{a0}c", "\u{1f}", "\x7f", "é  é", " \n"]
        {
            for text in
                [text.to_owned(), format!("{long}{text} {long}"), format!("{text}{}", long.trim_end())]
            {
                let words: Vec<_> = text.split_whitespace().collect();
                assert_eq!(plain(&text), words.join(" "));
                assert_eq!(SubstringHint::new(&text).plain(&text), words.join(" "));
            }
        }
        assert!(matches!(plain(long.trim_end()), Cow::Borrowed(_)));
    }

    #[test]
    fn words_are_found_among_any_number_of_likenesses() {
        for likeness in ["zz z", "é", "a b", "東京", "z"] {
            for words in ["z", "a b", "é", "東京", "zebra z"] {
                for times in [0, 1, TRIES - 1, TRIES, TRIES + 1, 3 * TRIES] {
                    let likenesses = likeness.repeat(times);
                    let messages =
                        [format!("{likenesses} {words}"), format!("{words} {likenesses}"), likenesses];
                    for message in messages {
                        let mut places = memmem::find_iter(message.as_bytes(), words);
                        let found = places.any(|start| stands_alone(&message, start, words.len()));
                        assert_eq!(
                            SubstringHint::new(words).leads_to(words, &message),
                            found,
                            "{words:?} in {message:?}"
                        );
                    }
                }
            }
        }
    }
}
