//! The names of the demo's two models.

pub(crate) const CHAT_MODEL: &str = "demo";
pub(crate) const EMBEDDING_MODEL: &str = "demo-embed";
