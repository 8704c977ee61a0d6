//! JSON read in place, without building a tree.

pub(crate) mod fields;
pub(crate) mod scan;
