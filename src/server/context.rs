//! `/v1/context`: one JSON object per user, read, replaced or patched, and never lost to another writer.
//!
//! The store compares and changes in one step; nothing in here may read a context to decide what to write.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::value::RawValue;

use super::{body::ReplyBody, personal::Desk, reply, routes::Own};
use crate::{
    recall::store::{ContextChange, UserContext},
    refusal::Refusal,
};

/// The largest body of a change, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// What a caller wants of its context.
#[derive(Debug, PartialEq)]
pub enum ContextErrand {
    /// `GET`
    Read,
    /// `PUT` and `PATCH`
    Write {
        /// What is to become of it.
        change: ContextChange,
        /// The entity tags of which it must have one; `None`: in any case.
        if_match: Option<Vec<String>>,
    },
}

/// Reads a request.
///
/// # Errors
/// A body that is not JSON, and an `If-Match` that is none.
pub fn read(own: &Own, headers: &HeaderMap, body: &Bytes) -> Result<ContextErrand, Refusal> {
    let change = match own {
        Own::ReplaceContext => ContextChange::Replace(object(body)?),
        Own::MergeContext => ContextChange::Merge(object(body)?),
        _ => return Ok(ContextErrand::Read),
    };
    Ok(ContextErrand::Write { change, if_match: if_match(headers)? })
}

/// Does it.
///
/// # Errors
/// What the store says, see [`Desk::ask`].
pub async fn run(desk: &Desk, errand: ContextErrand) -> Result<Response<ReplyBody>, Refusal> {
    let context = match errand {
        ContextErrand::Read => desk.ask(desk.memory.context(&desk.user)).await?,
        ContextErrand::Write { change, if_match } => {
            desk.ask(desk.memory.write_context(&desk.user, change, if_match)).await?
        }
    };
    Ok(tagged(context))
}

fn tagged(context: UserContext) -> Response<ReplyBody> {
    let mut response = reply::json(StatusCode::OK, context.json);
    if let Ok(etag) = HeaderValue::from_str(&context.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The body as it came, if it is a JSON object; how deep one may be is for the store to say.
fn object(body: &Bytes) -> Result<String, Refusal> {
    let json: &RawValue = serde_json::from_slice(body).map_err(|error| {
        Refusal::bad_request("invalid_json", None, format!("The body is not valid JSON: {error}."))
    })?;
    if !json.get().starts_with('{') {
        return Err(Refusal::bad_request("invalid_type", None, "The context must be a JSON object."));
    }
    Ok(json.get().to_owned())
}

/// The tags of `If-Match`. `*` asks only that there is a context, and there always is one: an empty one at first.
/// A weak tag (`W/"…"`) is kept with its prefix and matches none of ours, as RFC 9110 has it.
fn if_match(headers: &HeaderMap) -> Result<Option<Vec<String>>, Refusal> {
    let wrong = || {
        let message = "The header if-match must be * or a list of entity tags in double quotes.";
        Refusal::bad_request("invalid_type", Some("if-match"), message)
    };
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let listed = value.to_str().map_err(|_| wrong())?.split(',').map(str::trim);
        tags.extend(listed.filter(|tag| !tag.is_empty()).map(str::to_owned));
    }
    match tags.as_slice() {
        [] if headers.contains_key(header::IF_MATCH) => Err(wrong()),
        [] => Ok(None),
        [any] if any == "*" => Ok(None),
        tags if tags.iter().all(|tag| is_tag(tag)) => Ok(Some(tags.to_vec())),
        _ => Err(wrong()),
    }
}

fn is_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(values: &[&'static str]) -> Result<Option<Vec<String>>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_static(value));
        }
        if_match(&headers)
    }

    #[test]
    fn if_match_is_a_star_or_a_list() {
        assert_eq!(tags(&[]), Ok(None));
        assert_eq!(tags(&["*"]), Ok(None));
        let two = Ok(Some(vec!["\"a\"".to_owned(), "W/\"b\"".to_owned()]));
        assert_eq!(tags(&["\"a\" , W/\"b\""]), two);
        assert_eq!(tags(&["\"a\"", "W/\"b\""]), two);
        for bad in ["", "a", "\"a", "\"", "*, \"a\"", "\"a\" \"b\"", "w/\"a\""] {
            assert!(tags(&[bad]).is_err(), "{bad:?}: a condition that is not understood is not met");
        }
    }

    fn write(own: Own, body: &'static str) -> Result<ContextErrand, Refusal> {
        read(&own, &HeaderMap::new(), &Bytes::from_static(body.as_bytes()))
    }

    fn code(result: Result<ContextErrand, Refusal>) -> &'static str {
        match result {
            Err(Refusal::BadRequest(bad)) => bad.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_context_is_an_object_and_stays_as_it_came() {
        let change = ContextChange::Replace(r#"{"n": 1.50}"#.to_owned());
        assert_eq!(
            write(Own::ReplaceContext, " {\"n\": 1.50}\n"),
            Ok(ContextErrand::Write { change, if_match: None })
        );
        for bad in ["", "{", "{}{}", "{\"a\"}", "\u{feff}{}"] {
            assert_eq!(code(write(Own::MergeContext, bad)), "invalid_json", "{bad:?}");
        }
        for bad in ["[]", "null", "1", "\"{}\""] {
            assert_eq!(code(write(Own::ReplaceContext, bad)), "invalid_type", "{bad:?}");
        }
    }
}
