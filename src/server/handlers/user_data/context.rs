//! `/v1/context`: one JSON object per user, read, replaced or patched, and never lost to another writer.
//!
//! The store compares and changes in one step; nothing in here may read a context to decide what to write.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::value::RawValue;

use super::store_access::StoreAccess;
use crate::{
    memory::store::{Condition, ContextChange, MAX_CONTEXT, UserContext},
    refusal::{MemoryError, Refusal},
    server::{
        http::{error_response, response_body::ResponseBody},
        router::ContextRoute,
    },
};

/// The largest body of a change, in bytes.
pub(crate) const MAX_BODY: usize = MAX_CONTEXT;

/// What a caller wants of its context.
#[derive(Debug, PartialEq)]
pub(crate) enum ContextRequest {
    /// `GET`
    Read {
        /// What the caller has already: an answer without a body is enough if it is still that.
        unless: Condition,
    },
    /// `PUT` and `PATCH`
    Write {
        /// What is to become of it.
        change: ContextChange,
        condition: Condition,
    },
}

/// Reads a request.
///
/// # Errors
/// A body that is not JSON, and a condition that is none.
pub(crate) fn read(
    route: ContextRoute,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<ContextRequest, Refusal> {
    let change = match route {
        ContextRoute::Replace => ContextChange::Replace(object(body)?),
        ContextRoute::Merge => ContextChange::Merge(object(body)?),
        ContextRoute::Read => return Ok(ContextRequest::Read { unless: if_none_match(headers)? }),
    };
    let condition = match (if_match(headers)?, if_none_match(headers)?) {
        (condition, Condition::Always) | (Condition::Always, condition) => condition,
        _ => {
            let message = "Send either if-match or if-none-match, not both.";
            return Err(Refusal::bad_request("invalid_type", Some("if-none-match"), message));
        }
    };
    Ok(ContextRequest::Write { change, condition })
}

/// Does it.
///
/// # Errors
/// What the store says, see [`StoreAccess::call_store`].
pub(crate) async fn run(
    access: &StoreAccess,
    user_request: ContextRequest,
) -> Result<Response<ResponseBody>, Refusal> {
    match user_request {
        ContextRequest::Read { unless } => {
            let context = access.call_store(access.memory.context(&access.user)).await?;
            let known = unless != Condition::Always && !context.meets(&unless);
            let mut response = tagged(context);
            if known {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = ResponseBody::whole("");
            }
            Ok(response)
        }
        ContextRequest::Write { change, condition } => {
            let written =
                access.call_store(access.memory.write_context(&access.user, change, condition)).await?;
            if !written.erased {
                let message = "The context was written, but the text it replaced could not be erased from the files yet: \
                    please repeat the request.";
                return Err(MemoryError::StoreUnavailable(message).into());
            }
            Ok(tagged(written.context))
        }
    }
}

fn tagged(context: UserContext) -> Response<ResponseBody> {
    let mut response = error_response::json(StatusCode::OK, context.json);
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

/// `If-Match`. `*` asks only that there is a context, and there always is one: an empty one at first. A weak tag
/// (`W/"…"`) is kept with its prefix and matches none of ours, as RFC 9110 has it.
fn if_match(headers: &HeaderMap) -> Result<Condition, Refusal> {
    Ok(match listed(headers, header::IF_MATCH)? {
        None | Some(EntityTags::Any) => Condition::Always,
        Some(EntityTags::Tags(tags)) => Condition::OneOf(tags),
    })
}

/// `If-None-Match`. `*` asks that nothing was written yet. Here weak tags are as good as strong ones (RFC 9110, 13.1.2).
fn if_none_match(headers: &HeaderMap) -> Result<Condition, Refusal> {
    let strong = |tag: String| tag.strip_prefix("W/").map(str::to_owned).unwrap_or(tag);
    Ok(match listed(headers, header::IF_NONE_MATCH)? {
        None => Condition::Always,
        Some(EntityTags::Any) => Condition::Missing,
        Some(EntityTags::Tags(tags)) => Condition::NotOneOf(tags.into_iter().map(strong).collect()),
    })
}

/// What a header with entity tags says.
enum EntityTags {
    /// `*`
    Any,
    Tags(Vec<String>),
}

fn listed(headers: &HeaderMap, name: HeaderName) -> Result<Option<EntityTags>, Refusal> {
    let wrong = || {
        let message = format!("The header {name} must be * or a list of entity tags in double quotes.");
        Refusal::bad_request("invalid_type", Some(name.as_str()), message)
    };
    let mut tags = Vec::new();
    for value in headers.get_all(&name) {
        let listed = value.to_str().map_err(|_| wrong())?.split(',').map(str::trim);
        tags.extend(listed.filter(|tag| !tag.is_empty()).map(str::to_owned));
    }
    match tags.as_slice() {
        [] if headers.contains_key(&name) => Err(wrong()),
        [] => Ok(None),
        [any] if any == "*" => Ok(Some(EntityTags::Any)),
        tags if tags.iter().all(|tag| is_tag(tag)) => Ok(Some(EntityTags::Tags(tags.to_vec()))),
        _ => Err(wrong()),
    }
}

fn is_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

#[cfg(test)]
mod tests;
