//! The words of keys that take one of a few: each stands beside the variant that it means.

use std::time::Duration;

use super::reader::units::duration_text;

/// A value written as one of a fixed set of words, or as a duration where that is allowed.
pub(crate) trait Keyword: Copy + PartialEq + 'static {
    /// Every word with its meaning, in the order shown to the user; the first is the usual one.
    const WORDS: &'static [(&'static str, Self)];
    /// What a duration means.
    const AFTER: Option<fn(Duration) -> Self> = None;

    fn duration(self) -> Option<Duration> {
        None
    }

    /// As the file has it.
    fn text(self) -> String {
        self.duration().map_or_else(|| self.as_str().to_owned(), duration_text)
    }

    /// The word for this value; empty for a duration.
    fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }

    /// The value that `word` means.
    fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
    }
}

/// An enum whose variants are words of the file; the first is the default. `else` one of them is a duration.
macro_rules! keywords {
    (
        $(#[$doc:meta])+
        pub enum $Name:ident {
            $(#[$first_doc:meta])+ $First:ident = $first:literal,
            $($(#[$about:meta])+ $Variant:ident = $word:literal,)*
        }
        $(else { $(#[$after_doc:meta])+ $After:ident(Duration) })?
    ) => {
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[allow(unreachable_pub, reason = "some are public, some are not")]
        pub enum $Name {
            $(#[$first_doc])+
            #[default]
            $First,
            $($(#[$about])+ $Variant,)*
            $($(#[$after_doc])+ $After(Duration),)?
        }

        impl $crate::config::keyword::Keyword for $Name {
            const WORDS: &'static [(&'static str, Self)] =
                &[($first, Self::$First), $(($word, Self::$Variant),)*];
            $(
                const AFTER: Option<fn(Duration) -> Self> = Some(Self::$After);

                fn duration(self) -> Option<Duration> {
                    if let Self::$After(after) = self { Some(after) } else { None }
                }
            )?
        }
    };
}
pub(in crate::config) use keywords;
