//! WordPiece: the tokens of BERT's vocabulary that a word is made of.
//!
//! Greedy, longest first, as in Devlin et al., "BERT" (2018), `tokenization.py`. Written out here because the crate
//! `tokenizers` brings some seventy others for these few lines.

use super::{Table, Token};

/// Longer tokens are a handful of words run together in the vocabulary; none is longer.
const MAX_PIECE: usize = 32;

/// Adds the tokens of `word`, as [`crate::memory::text::tokenize::words`] gives it, to `out`. A word with a part that the
/// vocabulary lacks adds nothing: BERT calls it unknown, and all unknown words would look the same.
pub(crate) fn pieces(table: &Table, word: &str, out: &mut Vec<Token>) {
    let before = out.len();
    let mut buffer = String::with_capacity(MAX_PIECE + 2);
    let mut rest = word;
    while !rest.is_empty() {
        let inside = if rest.len() < word.len() { "##" } else { "" };
        let Some((piece, len)) = longest(table, inside, rest, &mut buffer) else {
            out.truncate(before);
            return;
        };
        out.push(piece);
        rest = &rest[len..];
    }
}

/// The longest token that `rest` begins with, and its bytes in `rest`.
fn longest(table: &Table, inside: &str, rest: &str, buffer: &mut String) -> Option<(Token, usize)> {
    let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).take(MAX_PIECE);
    let last = ends.last()?;
    let lengths = (1..=last).rev().filter(|&len| rest.is_char_boundary(len));
    lengths.into_iter().find_map(|len| {
        buffer.clear();
        buffer.push_str(inside);
        buffer.push_str(&rest[..len]);
        Some((table.id(buffer)?, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(word: &str) -> Vec<Token> {
        let mut out = vec![7];
        pieces(Table::builtin(), word, &mut out);
        assert_eq!(out.remove(0), 7, "what was there stays");
        out
    }

    fn ids(tokens: &[&str]) -> Vec<Token> {
        tokens.iter().map(|token| Table::builtin().id(token).unwrap()).collect()
    }

    #[test]
    fn words_are_split_as_bert_does() {
        // As bert-base-uncased's own tokenizer splits them.
        assert_eq!(spelled("the"), ids(&["the"]));
        assert_eq!(spelled("embeddings"), ids(&["em", "##bed", "##ding", "##s"]));
        assert_eq!(spelled("snowboarding"), ids(&["snow", "##boarding"]));
        assert_eq!(spelled("concierge"), ids(&["con", "##cier", "##ge"]));
        assert_eq!(spelled("untranslatability"), ids(&["un", "##tra", "##ns", "##lat", "##ability"]));
        assert_eq!(spelled("42nd"), ids(&["42nd"]));
        assert_eq!(spelled("!"), ids(&["!"]));
        assert_eq!(spelled("日"), ids(&["日"]));
    }

    #[test]
    fn an_unknown_word_has_no_tokens() {
        assert_eq!(spelled(""), ids(&[]));
        assert_eq!(spelled("🦀"), ids(&[]));
        assert_eq!(spelled("ab🦀"), ids(&[]));
    }
}
