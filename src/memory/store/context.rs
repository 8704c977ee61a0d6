//! The user's own context: a JSON object, and the tag that tells one version from another.

use sha2::{Digest, Sha256};

use super::{StoreError, UnixMillis, merge_patch};

/// The largest context, in bytes of JSON.
pub(crate) const MAX_CONTEXT: usize = 1 << 20;

/// What a user without a context has.
const EMPTY: &str = "{}";

/// A context as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserContext {
    /// A JSON object; as it came, if it was not patched.
    pub json: String,
    /// The entity tag, with its quotes. It is made from the content alone, so that two writes of one content are one.
    pub etag: String,
    /// When it was last written; `None` if never.
    pub updated_at: Option<UnixMillis>,
}

impl UserContext {
    /// The context with this content; an empty object if there is none.
    pub(super) fn new(stored: Option<(String, UnixMillis)>) -> Self {
        let (json, updated_at) = match stored {
            Some((json, at)) => (json, Some(at)),
            None => (EMPTY.to_owned(), None),
        };
        Self { etag: etag(&json), json, updated_at }
    }

    /// What `change` makes of it, if it meets `condition`.
    pub(super) fn changed(
        &self,
        change: &ContextChange,
        condition: &Condition,
    ) -> Result<String, StoreError> {
        if !self.meets(condition) {
            return Err(StoreError::Stale { etag: self.etag.clone() });
        }
        let json = match change {
            ContextChange::Replace(json) => merge_patch::object(json).map(|()| json.trim().to_owned()),
            ContextChange::Merge(patch) => merge_patch::merge_patch(&self.json, patch),
        }?;
        // Many small patches make a large context.
        if json.len() > MAX_CONTEXT { Err(StoreError::TooLarge { limit: MAX_CONTEXT }) } else { Ok(json) }
    }

    /// Whether `condition` is met.
    pub(crate) fn meets(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Always => true,
            Condition::OneOf(tags) => tags.contains(&self.etag),
            Condition::NotOneOf(tags) => !tags.contains(&self.etag),
            Condition::Missing => self.updated_at.is_none(),
        }
    }
}

/// What must be so for a context to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// Its tag is one of these.
    OneOf(Vec<String>),
    /// Its tag is none of these.
    NotOneOf(Vec<String>),
    /// None was ever written.
    Missing,
}

/// A context that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// As it is now.
    pub context: UserContext,
    /// The user's epoch that the change has begun.
    pub epoch: u64,
    /// Whether what it replaced is gone from the files too, as in [`super::Forgotten::erased`].
    pub erased: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextChange {
    /// This JSON object is the new context.
    Replace(String),
    /// This JSON merge patch (RFC 7386), an object, is applied to it.
    Merge(String),
}

impl ContextChange {
    /// Bytes that it holds while it waits.
    pub(super) fn weight(&self) -> usize {
        let (Self::Replace(json) | Self::Merge(json)) = self;
        json.len()
    }
}

/// 128 bits of SHA-256 in hex, quoted.
fn etag(json: &str) -> String {
    let mut tag = String::from("\"");
    tag.extend(Sha256::digest(json)[..16].iter().map(|byte| format!("{byte:02x}")));
    tag.push('"');
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_stands_for_a_content() {
        let at = |json: &str| UserContext::new(Some((json.to_owned(), UnixMillis(1))));
        assert_eq!(at("{}").etag, UserContext::new(None).etag);
        assert_ne!(at(r#"{"a":1}"#).etag, at(r#"{"a":2}"#).etag);
        assert_eq!(at("{}").etag.len(), 34);
    }

    #[test]
    fn only_who_has_seen_it_changes_it() {
        let seen = UserContext::new(None);
        let put = ContextChange::Replace(r#" {"n": 1.50} "#.to_owned());
        let (ours, other) = (seen.etag.clone(), "\"x\"".to_owned());
        assert_eq!(seen.changed(&put, &Condition::Always).unwrap(), r#"{"n": 1.50}"#);
        let met = [
            Condition::OneOf(vec![other.clone(), ours.clone()]),
            Condition::NotOneOf(vec![other.clone()]),
            Condition::Missing,
        ];
        assert!(met.iter().all(|condition| seen.changed(&put, condition).is_ok()));
        let unmet =
            [Condition::OneOf(vec![]), Condition::OneOf(vec![other]), Condition::NotOneOf(vec![ours])];
        for condition in unmet {
            let refused = seen.changed(&put, &condition);
            assert_eq!(refused, Err(StoreError::Stale { etag: seen.etag.clone() }), "{condition:?}");
        }
        let written = UserContext::new(Some(("{}".to_owned(), UnixMillis(1))));
        assert!(written.changed(&put, &Condition::Missing).is_err(), "also an empty one was written");
        let array = ContextChange::Replace("[]".to_owned());
        assert_eq!(seen.changed(&array, &Condition::Always), Err(StoreError::NotAnObject));
    }

    #[test]
    fn a_context_has_a_largest_size_however_it_grew() {
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_CONTEXT - 8));
        assert_eq!(large.len(), MAX_CONTEXT);
        let seen = UserContext::new(Some((large.clone(), UnixMillis(1))));
        assert!(seen.changed(&ContextChange::Replace(large), &Condition::Always).is_ok());
        let more = ContextChange::Merge(r#"{"b":1}"#.to_owned());
        assert_eq!(seen.changed(&more, &Condition::Always), Err(StoreError::TooLarge { limit: MAX_CONTEXT }));
        let less = ContextChange::Merge(r#"{"a":1}"#.to_owned());
        assert_eq!(seen.changed(&less, &Condition::Always).unwrap(), r#"{"a":1}"#);
    }
}
