//! What a text is about: its words, its question, what it must not hold.

pub(crate) mod answer_type;
pub(crate) mod overlap;
pub(crate) mod preselect;
pub(crate) mod secrets;
pub(crate) mod terms;
pub(crate) mod tokenize;
