//! JSON read where it lies, without building a tree of it.

pub(crate) mod fields;
pub(crate) mod scan;
