//! Memories as JSON, in and out.
//!
//! What comes in is checked here, field by field, so that a refusal can name the place; what is kept of it is kept as
//! it came: neither the text nor the metadata may be changed.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::{
    memory::{
        store::{Cursor, MAX_PAGE, MemoryRecord, UnixMillis},
        types::{NewItem, SearchResult},
    },
    refusal::{GatewayError, Refusal},
    server::http::{error_response, response_body::ResponseBody},
};

/// Most memories in one request.
const MAX_ITEMS: usize = 1000;
/// Longest text, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// Largest metadata of one memory, in bytes of JSON.
const MAX_METADATA: usize = 16 << 10;
/// Longest name of a session or a speaker, in characters.
pub(crate) const MAX_NAME: usize = 256;
/// Items of a search for which no limit was asked.
const SEARCH_LIMIT: usize = 10;
const ROLES: [&str; 3] = ["user", "assistant", "system"];

type JsonFields = BTreeMap<String, Box<RawValue>>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SearchRequest {
    /// In the words of whoever asks.
    pub query: String,
    /// Most items.
    pub limit: usize,
    /// Most tokens of all items together.
    pub max_tokens: Option<u32>,
}

/// Reads the body of a `POST /v1/memories`: the items, and whether they came as a list.
///
/// # Errors
/// The first thing that is wrong, with its place: `memories[3].text`.
pub(crate) fn items(body: &[u8]) -> Result<(Vec<NewItem>, bool), Refusal> {
    let root = FieldReader::read(body)?;
    let Some(list) = root.get::<Vec<Box<RawValue>>>("memories", "must be a list")? else {
        return Ok((vec![item(&root)?], false));
    };
    if list.is_empty() || list.len() > MAX_ITEMS {
        return Err(root.wrong("memories", "must contain 1 to 1000 memories"));
    }
    let items = list.iter().enumerate().map(|(place, json)| {
        let path = format!("memories[{place}]");
        let object = serde_json::from_str(json.get()).map_err(|_| root.wrong(&path, "must be an object"))?;
        item(&FieldReader { object, path: format!("{path}.") })
    });
    items.collect::<Result<_, _>>().map(|items| (items, true))
}

/// Reads the body of a `POST /v1/memories/search`.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn search(body: &[u8]) -> Result<SearchRequest, Refusal> {
    let root = FieldReader::read(body)?;
    let positive = "must be a whole number of at least 1";
    let limit = root.get::<usize>("limit", positive)?.unwrap_or(SEARCH_LIMIT);
    let max_tokens = root.get::<u32>("max_tokens", positive)?;
    if limit == 0 || max_tokens == Some(0) {
        return Err(root.wrong(if limit == 0 { "limit" } else { "max_tokens" }, positive));
    }
    Ok(SearchRequest { query: root.words("query")?, limit: limit.min(MAX_PAGE), max_tokens })
}

fn item(fields: &FieldReader) -> Result<NewItem, Refusal> {
    let role = fields.get::<String>("role", "must be a string")?.unwrap_or_else(|| ROLES[0].to_owned());
    if !ROLES.contains(&role.as_str()) {
        return Err(fields.wrong("role", "must be user, assistant or system"));
    }
    let rfc3339 = "must be an RFC 3339 time such as 2026-01-31T12:00:00Z";
    let created_at = fields.get::<String>("created_at", rfc3339)?;
    let created_at = created_at.map(|text| instant(&text).ok_or_else(|| fields.wrong("created_at", rfc3339)));
    Ok(NewItem {
        text: fields.words("text")?,
        role,
        session: fields.name("session")?,
        speaker: fields.name("speaker")?,
        created_at: created_at.transpose()?,
        metadata: fields.metadata()?,
    })
}

/// The fields of an object, and where it is.
struct FieldReader {
    object: JsonFields,
    path: String,
}

impl FieldReader {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let json: &RawValue = serde_json::from_slice(body).map_err(|error| {
            Refusal::bad_request("invalid_json", None, format!("The body is not valid JSON: {error}."))
        })?;
        let object = serde_json::from_str(json.get());
        let object = object
            .map_err(|_| Refusal::bad_request("invalid_type", None, "The body must be a JSON object."))?;
        Ok(Self { object, path: String::new() })
    }

    fn wrong(&self, name: &str, what: &str) -> Refusal {
        let path = format!("{}{name}", self.path);
        Refusal::bad_request("invalid_type", Some(&path), format!("The field `{path}` {what}."))
    }

    /// The field, if it is there and not null.
    fn get<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, Refusal> {
        let Some(value) = self.object.get(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|_| self.wrong(name, what))
    }

    /// A text that has to be there and to say something.
    fn words(&self, name: &str) -> Result<String, Refusal> {
        let path = format!("{}{name}", self.path);
        let missing =
            || Refusal::bad_request("missing_field", Some(&path), format!("The field `{path}` is required."));
        let text = self.get::<String>(name, "must be a string")?.ok_or_else(missing)?;
        match text.len() {
            _ if text.trim().is_empty() => Err(self.wrong(name, "must not be empty")),
            ..=MAX_TEXT => Ok(text),
            _ => Err(self.wrong(name, "must not be longer than 1 MiB")),
        }
    }

    fn name(&self, name: &str) -> Result<Option<String>, Refusal> {
        let given = self.get::<String>(name, "must be a string")?;
        match given.as_ref().map_or(1, |text| text.chars().count()) {
            1..=MAX_NAME => Ok(given),
            _ => Err(self.wrong(name, "must be 1 to 256 characters")),
        }
    }

    fn metadata(&self) -> Result<Option<String>, Refusal> {
        let Some(json) = self.get::<Box<RawValue>>("metadata", "must be an object")? else { return Ok(None) };
        match json.get() {
            text if !text.starts_with('{') => Err(self.wrong("metadata", "must be an object")),
            text if text.len() > MAX_METADATA => {
                Err(self.wrong("metadata", "must not be larger than 16 KiB"))
            }
            text => Ok(Some(text.to_owned())),
        }
    }
}

/// An RFC 3339 time, with any offset; `None` if it is none, or not within the years 0 to 9999 in UTC.
pub(crate) fn instant(text: &str) -> Option<UnixMillis> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    let at = UnixMillis(i64::try_from(nanos.div_euclid(1_000_000)).ok()?);
    date(at).map(|_| at)
}

/// `at` as RFC 3339 in UTC; `None` if it is beyond the years that this can write.
pub(crate) fn date(at: UnixMillis) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).ok()?;
    at.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()
}

/// A memory as the client sees it.
#[derive(Serialize)]
pub(crate) struct MemoryJson<'a> {
    object: &'static str,
    id: &'a str,
    text: &'a str,
    role: &'a str,
    session: Option<&'a str>,
    speaker: Option<&'a str>,
    created_at: Option<String>,
    metadata: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
}

impl<'a> From<&'a MemoryRecord> for MemoryJson<'a> {
    fn from(memory: &'a MemoryRecord) -> Self {
        let metadata = memory.metadata.clone().unwrap_or_else(|| "{}".to_owned());
        Self {
            object: "memory",
            id: &memory.id,
            text: &memory.text,
            role: &memory.role,
            session: memory.session.as_deref(),
            speaker: memory.speaker.as_deref(),
            created_at: date(memory.created_at),
            metadata: RawValue::from_string(metadata).unwrap_or_else(|_| RawValue::NULL.to_owned()),
            score: None,
        }
    }
}

/// A list in OpenAI's shape.
#[derive(Serialize)]
pub(crate) struct ListJson<'a> {
    object: &'static str,
    data: &'a [MemoryJson<'a>],
    has_more: bool,
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'static str>,
}

impl<'a> ListJson<'a> {
    pub(crate) fn whole(data: &'a [MemoryJson<'a>]) -> Self {
        Self::page(data, None)
    }

    /// A part; `next` is where the rest begins.
    pub(crate) fn page(data: &'a [MemoryJson<'a>], next: Option<Cursor>) -> Self {
        let next_cursor = next.map(|cursor| cursor.to_string());
        Self { object: "list", data, has_more: next.is_some(), next_cursor, cache: None, embedding: None }
    }
}

/// What a search found, best first.
///
/// # Errors
/// None but a bug.
pub(crate) fn found(found: &SearchResult) -> Result<Response<ResponseBody>, Refusal> {
    let scored =
        found.hits.iter().map(|hit| MemoryJson { score: Some(hit.score), ..MemoryJson::from(&hit.memory) });
    let shown: Vec<MemoryJson> = scored.collect();
    let cache = Some(if found.cached { "hit" } else { "miss" });
    let embedding = found.unembedded.as_ref().map(|why| why.as_str());
    answer(StatusCode::OK, &ListJson { cache, embedding, ..ListJson::whole(&shown) })
}

/// A line for each memory.
///
/// # Errors
/// None but a bug.
pub(crate) fn lines(memories: &[MemoryRecord]) -> Result<Vec<u8>, Refusal> {
    let mut text = Vec::new();
    for memory in memories {
        // Metadata may have come on several lines; within a string no line ends unescaped.
        let one_line = |byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        text.extend(bytes(&MemoryJson::from(memory))?.into_iter().map(one_line));
        text.push(b'\n');
    }
    Ok(text)
}

/// `body` as JSON that nobody may keep.
///
/// # Errors
/// None but a bug.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Result<Response<ResponseBody>, Refusal> {
    bytes(body).map(|body| error_response::json(status, body))
}

fn bytes(body: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "cannot serialise an answer");
        GatewayError::Internal.into()
    })
}

#[cfg(test)]
mod tests;
