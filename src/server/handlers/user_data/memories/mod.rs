//! `/v1/memories`: a caller adds to, lists, searches and forgets its own memories.
//!
//! [`read`] makes an errand of a request, or says what is wrong with it; [`run`] does it. No id, cursor or text that a
//! caller sends may ever reach a row of somebody else: the store is asked for the caller's alone.

pub(crate) mod json;
pub(crate) mod query;

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use serde_json::json;

use self::{
    json::{MemoryJson, SearchRequest},
    query::PageRequest,
};
use super::store_access::{StoreAccess, after_erasure};
use crate::{
    memory::{
        store::{Cursor, Forget, MAX_PAGE, RecordPage},
        types::NewItem,
    },
    refusal::{MemoryError, Refusal},
    server::{
        http::response_body::{ResponseBody, TruncatedBody},
        router::MemoryRoute,
    },
};

const LINES: &str = "application/x-ndjson";

/// What a caller wants of its memories.
#[derive(Debug, PartialEq)]
pub(crate) enum MemoryRequest {
    /// Keep these.
    Add {
        /// What is to be kept.
        items: Vec<NewItem>,
        /// They came as a list, and are answered as one.
        many: bool,
        /// The client's name for this write.
        idempotency_key: Option<String>,
    },
    List(PageRequest),
    /// All of them from here on, a line each.
    Export(Option<Cursor>),
    Get(String),
    ForgetOne(String),
    /// Forget what matches.
    Forget(Forget),
    /// Find what fits.
    Search(SearchRequest),
}

impl MemoryRequest {
    /// Whether it changes anything.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Add { .. } | Self::ForgetOne(_) | Self::Forget(_))
    }
}

/// Reads a request.
///
/// # Errors
/// What is wrong with it, with the name of the field, header or parameter.
pub(crate) fn read(route: MemoryRoute, parts: &Parts, body: &Bytes) -> Result<MemoryRequest, Refusal> {
    let query = parts.uri.query();
    Ok(match route {
        MemoryRoute::Get(id) => MemoryRequest::Get(id),
        MemoryRoute::ForgetOne(id) => MemoryRequest::ForgetOne(id),
        MemoryRoute::Forget => MemoryRequest::Forget(query::forget(query)?),
        MemoryRoute::Search => MemoryRequest::Search(json::search(body)?),
        MemoryRoute::Add => {
            let (items, many) = json::items(body)?;
            MemoryRequest::Add { items, many, idempotency_key: idempotency_key(&parts.headers)? }
        }
        MemoryRoute::List => {
            let listing = query::listing(query)?;
            match wants_lines(&parts.headers) {
                true => MemoryRequest::Export(listing.cursor),
                false => MemoryRequest::List(listing),
            }
        }
    })
}

/// Does it.
///
/// # Errors
/// [`MemoryError::NotFound`], and what the store says, see [`StoreAccess::call_store`].
pub(crate) async fn run(
    access: &StoreAccess,
    request: MemoryRequest,
) -> Result<Response<ResponseBody>, Refusal> {
    let (memory, user) = (&access.memory, &access.user);
    match request {
        MemoryRequest::Add { items, many, idempotency_key } => {
            let kept = access.call_store(memory.add(user, items, idempotency_key)).await?;
            let shown: Vec<MemoryJson> = kept.iter().map(MemoryJson::from).collect();
            match shown.as_slice() {
                [one] if !many => json::answer(StatusCode::CREATED, one),
                _ => json::answer(StatusCode::CREATED, &json::ListJson::whole(&shown)),
            }
        }
        MemoryRequest::List(listing) => {
            let page = access.call_store(memory.list(user, listing.cursor, listing.limit)).await?;
            page_of(&page)
        }
        MemoryRequest::Export(cursor) => export(access.clone(), cursor).await,
        MemoryRequest::Get(id) => {
            let found = access.call_store(memory.get(user, &id)).await?.ok_or(MemoryError::NotFound)?;
            json::answer(StatusCode::OK, &MemoryJson::from(&found))
        }
        MemoryRequest::ForgetOne(id) => {
            let forgotten = access.call_store(memory.forget(user, Forget::Id(id.clone()))).await?;
            match after_erasure(&forgotten)? {
                0 => Err(MemoryError::NotFound.into()),
                _ => json::answer(StatusCode::OK, &json!({ "object": "memory", "id": id, "deleted": true })),
            }
        }
        MemoryRequest::Forget(which) => {
            let forgotten = access.call_store(memory.forget(user, which)).await?;
            json::answer(StatusCode::OK, &json!({ "object": "list", "deleted": after_erasure(&forgotten)? }))
        }
        MemoryRequest::Search(SearchRequest { query, limit, max_tokens }) => {
            let found = access.call_store(memory.search(user, &query, limit, max_tokens)).await?;
            json::found(&found)
        }
    }
}

/// A page as a list.
///
/// # Errors
/// None but a bug.
pub(crate) fn page_of(page: &RecordPage) -> Result<Response<ResponseBody>, Refusal> {
    let shown: Vec<MemoryJson> = page.memories.iter().map(MemoryJson::from).collect();
    json::answer(StatusCode::OK, &json::ListJson::page(&shown, page.next))
}

/// All memories, a line each, page by page as the client takes them. What fails before the first byte is refused;
/// what fails later cuts the connection, for an export that ends early must not look like a whole one.
async fn export(access: StoreAccess, cursor: Option<Cursor>) -> Result<Response<ResponseBody>, Refusal> {
    let first = access.call_store(access.memory.list(&access.user, cursor, MAX_PAGE)).await?;
    let mut response = Response::new(ResponseBody::stream(lines(access, first)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

enum ExportPosition {
    At(RecordPage),
    After(Cursor),
    End,
}

fn lines(
    access: StoreAccess,
    first: RecordPage,
) -> Pin<Box<dyn Stream<Item = Result<Bytes, TruncatedBody>> + Send>> {
    let step = |(access, place): (StoreAccess, ExportPosition)| async move {
        let page = match place {
            ExportPosition::At(page) => page,
            ExportPosition::After(cursor) => next_page(&access, cursor).await?,
            ExportPosition::End => return Ok(None),
        };
        let text = json::lines(&page.memories).map_err(|_| TruncatedBody)?;
        let next = page.next.map_or(ExportPosition::End, ExportPosition::After);
        Ok(Some((Bytes::from(text), (access, next))))
    };
    Box::pin(stream::try_unfold((access, ExportPosition::At(first)), step))
}

async fn next_page(access: &StoreAccess, cursor: Cursor) -> Result<RecordPage, TruncatedBody> {
    tokio::select! {
        page = access.call_store(access.memory.list(&access.user, Some(cursor), MAX_PAGE)) => page.map_err(|_| TruncatedBody),
        () = access.tasks.abort_streams().cancelled() => Err(TruncatedBody),
    }
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mime = range.split(';').next().unwrap_or_default().trim();
        mime.eq_ignore_ascii_case(LINES)
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > json::MAX_NAME {
        let message = "The header idempotency-key must be 1 to 256 characters of ASCII.";
        return Err(Refusal::bad_request("invalid_type", Some("idempotency-key"), message));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        headers
    }

    #[test]
    fn lines_are_for_who_asks_for_them() {
        assert!(wants_lines(&headers("accept", "application/x-ndjson")));
        assert!(wants_lines(&headers("accept", "text/html;q=0.1, Application/X-NDJSON; q=1")));
        assert!(!wants_lines(&headers("accept", "*/*")));
        assert!(!wants_lines(&HeaderMap::new()));
    }

    #[test]
    fn an_idempotency_key_is_a_short_token() {
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
        assert_eq!(idempotency_key(&headers("idempotency-key", " k ")), Ok(Some("k".into())));
        for bad in ["", "é", &"x".repeat(257)] {
            assert!(idempotency_key(&headers("idempotency-key", bad)).is_err(), "{bad:?}");
        }
    }
}
