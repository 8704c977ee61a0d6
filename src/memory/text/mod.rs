//! What a text is about: its words, its question, what it must not hold.

pub mod answer_type;
pub mod overlap;
pub(crate) mod preselect;
pub mod secrets;
pub mod terms;
pub mod tokenize;
