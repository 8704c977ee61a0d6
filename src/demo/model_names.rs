//! The names of the demo's two models.

/// The chat model.
pub const CHAT_MODEL: &str = "demo";
/// The embedding model.
pub const EMBEDDING_MODEL: &str = "demo-embed";
