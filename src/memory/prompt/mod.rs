//! From ranked memories to the block that goes into the prompt.

pub(crate) mod assemble;
pub mod block;
pub mod selection;
