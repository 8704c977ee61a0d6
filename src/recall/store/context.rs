//! The user's own context: a JSON object, and the tag that tells one version from another.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{StoreError, UnixMillis, merge};

/// What a user without a context has.
const EMPTY: &str = "{}";

/// A context as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserContext {
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

    /// What `change` makes of it, if its tag is one of those that the caller has seen.
    pub(super) fn changed(
        &self,
        change: &ContextChange,
        if_match: Option<&[String]>,
    ) -> Result<String, StoreError> {
        if if_match.is_some_and(|tags| !tags.contains(&self.etag)) {
            return Err(StoreError::Stale { etag: self.etag.clone() });
        }
        match change {
            ContextChange::Replace(json) => merge::object(json).map(|()| json.trim().to_owned()),
            ContextChange::Merge(patch) => merge::merge_patch(&self.json, patch),
        }
    }
}

/// A change of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextChange {
    /// This JSON object is the new context.
    Replace(String),
    /// This JSON merge patch (RFC 7386), an object, is applied to it.
    Merge(String),
}

/// 128 bits of SHA-256 in hex, quoted.
fn etag(json: &str) -> String {
    let mut tag = String::from("\"");
    for byte in &Sha256::digest(json)[..16] {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
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
        assert_eq!(seen.changed(&put, None).unwrap(), r#"{"n": 1.50}"#);
        assert!(seen.changed(&put, Some(&["\"x\"".to_owned(), seen.etag.clone()])).is_ok());
        for tags in [vec![], vec!["\"x\"".to_owned()]] {
            let refused = seen.changed(&put, Some(&tags));
            assert_eq!(refused, Err(StoreError::Stale { etag: seen.etag.clone() }));
        }
        let array = ContextChange::Replace("[]".to_owned());
        assert_eq!(seen.changed(&array, None), Err(StoreError::NotAnObject));
    }
}
