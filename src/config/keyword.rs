//! The words of keys that take one of a few: one list per key, used to read, to suggest and to print.

use super::{Capture, LogFormat, OnError, Prefill, Rescue, Store, Strategy};

/// A value written as one of a fixed set of words.
pub trait Keyword: Copy + PartialEq + 'static {
    /// Every word with its meaning, in the order shown to the user.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this value.
    fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

impl Keyword for Strategy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("score", Self::Score),
        ("priority", Self::Priority),
        ("weighted", Self::Weighted),
        ("round_robin", Self::RoundRobin),
    ];
}

impl Keyword for Prefill {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("assistant", Self::Assistant),
        ("prefix", Self::Prefix),
        ("vllm", Self::Vllm),
    ];
}

impl Keyword for Rescue {
    const WORDS: &'static [(&'static str, Self)] = &[("continue", Self::Continue), ("error", Self::Error)];
}

impl Keyword for Store {
    const WORDS: &'static [(&'static str, Self)] = &[("sqlite", Self::Sqlite), ("postgres", Self::Postgres)];
}

impl Keyword for Capture {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("user", Self::User), ("both", Self::Both)];
}

impl Keyword for OnError {
    const WORDS: &'static [(&'static str, Self)] = &[("local", Self::Local), ("closed", Self::Closed)];
}

impl Keyword for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// The word of `embedder`; its other keys make it an [`super::Embedder`].
#[derive(Clone, Copy, PartialEq)]
pub enum EmbedderKind {
    /// The table inside the binary.
    Builtin,
    /// A target with an OpenAI-compatible `/embeddings` route.
    OpenAi,
}

impl Keyword for EmbedderKind {
    const WORDS: &'static [(&'static str, Self)] = &[("builtin", Self::Builtin), ("openai", Self::OpenAi)];
}
