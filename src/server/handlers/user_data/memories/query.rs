//! The query of `/v1/memories`: which page, and what is to be forgotten.
//!
//! A parameter that is not known, or given twice, is refused: `DELETE /v1/memories?sesion=s1` must never be read as
//! "forget everything".

use std::collections::BTreeMap;

use url::form_urlencoded;

use super::json::{MAX_NAME, instant};
use crate::{
    memory::store::{Cursor, Forget, MAX_PAGE},
    refusal::Refusal,
};

/// Items of a page for which no limit was asked.
const PAGE: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PageRequest {
    /// Where it begins.
    pub cursor: Option<Cursor>,
    /// Most items, 1..=[`MAX_PAGE`].
    pub limit: usize,
}

/// Reads `?limit=&cursor=`. A limit beyond [`MAX_PAGE`] is that one: `has_more` says that there is more.
///
/// # Errors
/// A parameter that is wrong.
pub(crate) fn listing(query: Option<&str>) -> Result<PageRequest, Refusal> {
    let given = parameters(query, &["limit", "cursor"])?;
    let limit = given.get("limit").map(|text| match text.parse() {
        Ok(limit @ 1usize..) => Ok(limit.min(MAX_PAGE)),
        _ => Err(wrong("limit", "must be a number from 1 to 200")),
    });
    let cursor = given.get("cursor").map(|text| {
        Cursor::parse(text).ok_or_else(|| wrong("cursor", "must be the `next_cursor` of an earlier page"))
    });
    Ok(PageRequest { cursor: cursor.transpose()?, limit: limit.transpose()?.unwrap_or(PAGE) })
}

/// Reads `?session=&before=`; without either it is everything.
///
/// # Errors
/// A parameter that is wrong.
pub(crate) fn forget(query: Option<&str>) -> Result<Forget, Refusal> {
    let mut given = parameters(query, &["session", "before"])?;
    // A `+` that was not escaped has become a space; no other RFC 3339 time has one behind its `T`.
    let before = given.get("before").map(|text| text.replace(' ', "+"));
    let before = before.map(|text| {
        instant(&text).ok_or_else(|| wrong("before", "must be an RFC 3339 time such as 2026-01-31T12:00:00Z"))
    });
    let session = given.remove("session");
    if session.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > MAX_NAME) {
        return Err(wrong("session", "must be 1 to 256 characters"));
    }
    Ok(Forget::Matching { session, before: before.transpose()? })
}

fn parameters(
    query: Option<&str>,
    known: &[&'static str],
) -> Result<BTreeMap<&'static str, String>, Refusal> {
    let mut given = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let Some(name) = known.iter().find(|known| **known == name) else {
            return Err(wrong(&name, &format!("is unknown; known parameters are {}", known.join(" and "))));
        };
        if given.insert(*name, value.into_owned()).is_some() {
            return Err(wrong(name, "is given twice"));
        }
    }
    Ok(given)
}

fn wrong(name: &str, what: &str) -> Refusal {
    Refusal::bad_request("invalid_type", Some(name), format!("The query parameter `{name}` {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::UnixMillis;

    #[test]
    fn a_page_has_a_limit_and_a_place() {
        let cursor = Cursor::parse("5.7");
        assert_eq!(listing(None), Ok(PageRequest { cursor: None, limit: 100 }));
        assert_eq!(listing(Some("cursor=5.7&limit=3")), Ok(PageRequest { cursor, limit: 3 }));
        assert_eq!(listing(Some("limit=1000")).unwrap().limit, 200);
        for bad in [
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=",
            "cursor=",
            "cursor=%27%20OR%201=1",
            "limit=1&limit=2",
        ] {
            assert!(listing(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_typing_error_never_forgets_everything() {
        assert_eq!(forget(None), Ok(Forget::ALL));
        assert_eq!(forget(Some("")), Ok(Forget::ALL));
        for bad in
            ["sesion=s1", "session=", "before=", "before=yesterday", "session=a&session=b", "all", "id=x"]
        {
            assert!(forget(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_is_taken_literally_and_a_plus_may_be_raw() {
        let session = Some("50%_'; DROP TABLE memories;--".to_owned());
        let escaped = "session=50%25_'%3B%20DROP%20TABLE%20memories%3B--";
        assert_eq!(forget(Some(escaped)), Ok(Forget::Matching { session, before: None }));
        let before = Some(UnixMillis(-3_600_000));
        let expected = Ok(Forget::Matching { session: None, before });
        assert_eq!(forget(Some("before=1970-01-01T00:00:00+01:00")), expected);
        assert_eq!(forget(Some("before=1970-01-01T00:00:00%2B01:00")), expected);
    }
}
