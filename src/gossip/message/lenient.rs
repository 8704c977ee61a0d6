//! Fields that a gateway of another version may have written: what is not understood counts as absent.

use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

/// A field; `None` if it is absent, or its value is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Lenient<T>(pub Option<T>);

/// A list of which each element is understood for itself.
pub(crate) type LenientList<T> = Lenient<Vec<Lenient<T>>>;

impl<T> Lenient<T> {
    /// Whether there is nothing to write.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl<T> LenientList<T> {
    /// The elements that are understood.
    pub(crate) fn understood(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten().filter_map(|element| element.0)
    }
}

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<Option<T>> for Lenient<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T> FromIterator<T> for LenientList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(Some(elements.into_iter().map(|element| Lenient(Some(element))).collect()))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Understood<T> {
    Yes(T),
    No(IgnoredAny),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Understood::deserialize(from)? {
            Understood::Yes(value) => Self(Some(value)),
            Understood::No(IgnoredAny) => Self(None),
        })
    }
}
