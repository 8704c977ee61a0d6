//! From ranked memories to the block that goes into the prompt.

pub(crate) mod assemble;
pub(crate) mod block;
pub(crate) mod selection;
