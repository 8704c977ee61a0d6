//! May this user go now?

pub mod slots;
