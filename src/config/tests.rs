//! The shipped file and the documentation, held to the tables of the code.

mod docs;
mod shipped;

pub(crate) use docs::{Documented, Key};
