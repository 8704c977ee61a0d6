//! The built-in embedder: a static table of token vectors, compiled into the binary.
//!
//! Each of BERT's 30,522 WordPiece tokens has a vector and a list of tokens that mean nearly the same, both distilled
//! from all-MiniLM-L6-v2 by `make/make_table.py`; licence and notice are beside the table. There is no model to run
//! and nothing to download: a text means the weighted sum of its tokens. The weights are the user's own word
//! statistics, which is why [`crate::memory::index::user_index`] adds the vectors up and this module only holds them.
//!
//! Pure: it must never read a file, call a server or panic on a text.

mod table;
mod wordpiece;

pub(crate) use table::{Table, Token};
pub(crate) use wordpiece::pieces;
