//! A text that grows in pieces while an answer runs.
//!
//! Growth never moves it: with one string for each of a thousand slow streams, the allocator would keep the
//! smaller buffers that each string has outgrown.

/// Bytes of one piece.
const PIECE: usize = 4 * 1024;

/// The text so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// All pieces but the last, each about [`PIECE`] long.
    pieces: Vec<String>,
    last: String,
    length: usize,
}

impl Transcript {
    /// Puts `text` at the end.
    pub(crate) fn push(&mut self, text: &str) {
        if !self.last.is_empty() && self.last.len() + text.len() > PIECE {
            self.pieces.push(std::mem::take(&mut self.last));
        }
        self.last.push_str(text);
        self.length += text.len();
    }

    /// Bytes of all of it.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The whole text as one string; copies it.
    pub(crate) fn whole(&self) -> String {
        let mut whole = String::with_capacity(self.length);
        self.pieces.iter().chain([&self.last]).for_each(|piece| whole.push_str(piece));
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_no_piece_is_moved_for_long() {
        let mut transcript = Transcript::default();
        let mut whole = String::new();
        for n in 0..2000 {
            let text = "é".repeat(n % 97);
            transcript.push(&text);
            whole += &text;
        }
        transcript.push(&"x".repeat(3 * PIECE));
        transcript.push("y");
        whole += &"x".repeat(3 * PIECE);
        whole += "y";
        assert_eq!((transcript.whole(), transcript.len()), (whole.clone(), whole.len()));
        let short = transcript.pieces.iter().filter(|piece| piece.len() > PIECE);
        assert_eq!(short.count(), 1, "only what came so large is so large");
        assert!(transcript.pieces.len() < whole.len() / PIECE * 2);
    }
}
