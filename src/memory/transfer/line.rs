//! The lines of an export. Each is one JSON object with a `type`; unknown fields are passed over.
//!
//! ```text
//! {"type":"head","format":"concierge-memory","version":1}
//! {"type":"memory","user":"ann","id":"01…","role":"user","text":"…","created_at":1780000000000, …}
//! {"type":"context","user":"ann","context":{"lang":"pt"}}
//! {"type":"end","memories":1,"contexts":1,"sha256":"…"}
//! ```
//!
//! Times are milliseconds since 1970. The checksum is that of all bytes before the last line.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    memory::{
        store::{self, UnixMillis, seq_of},
        text::tokenize,
    },
    user::UserId,
};

/// What an export calls itself.
pub(crate) const FORMAT: &str = "concierge-memory";
/// The version that is written, and the newest that is read.
pub(crate) const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransferHead {
    pub format: String,
    pub version: u32,
}

/// The last line.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TransferEnd {
    pub memories: u64,
    pub contexts: u64,
    pub sha256: String,
}

/// What [`TransferEnd`] says of the bytes before it.
pub(crate) fn checksum(hash: &Sha256) -> String {
    format!("{:x}", hash.clone().finalize())
}

/// A user's context.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContextLine {
    pub user: String,
    pub context: Box<RawValue>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MemoryLine {
    pub user: String,
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    pub role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    pub text: String,
    pub created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<EmbeddingLine>,
}

/// A vector, so that what was paid for need not be paid for again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EmbeddingLine {
    pub embedder: String,
    pub scale: f32,
    /// Its int8 components in base64.
    pub vector: String,
}

#[derive(Debug)]
pub(crate) enum TransferLine {
    Head(TransferHead),
    Memory(UserId, Box<store::MemoryRecord>),
    Context(UserId, String),
    End(TransferEnd),
}

#[derive(Deserialize)]
struct LineKind<'l> {
    #[serde(rename = "type")]
    kind: &'l str,
}

#[derive(Serialize)]
struct TaggedLine<'l, T> {
    #[serde(rename = "type")]
    kind: &'l str,
    #[serde(flatten)]
    line: T,
}

impl TransferLine {
    /// Reads a line.
    ///
    /// Errors: what is wrong with it, in words that follow "line 7".
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        fn read<'l, T: Deserialize<'l>>(line: &'l str) -> Result<T, String> {
            // The position within the line, and no word of the line.
            serde_json::from_str(line).map_err(|error| format!("is damaged at column {}", error.column()))
        }
        match read::<LineKind<'_>>(line)?.kind {
            "head" => read(line).map(Self::Head),
            "end" => read(line).map(Self::End),
            "context" => {
                let ContextLine { user, context } = read(line)?;
                Ok(Self::Context(user_id(&user)?, context.get().to_owned()))
            }
            "memory" => {
                let memory: MemoryLine = read(line)?;
                Ok(Self::Memory(user_id(&memory.user)?, Box::new(memory.stored()?)))
            }
            _ => Err("is of a kind that this version does not know".to_owned()),
        }
    }
}

fn user_id(name: &str) -> Result<UserId, String> {
    UserId::authenticated(name).ok_or_else(|| "names no user".to_owned())
}

impl MemoryLine {
    /// As it is exported.
    pub(crate) fn new(user: &UserId, memory: store::MemoryRecord) -> Self {
        let store::MemoryRecord { id, session, role, speaker, text, created_at, metadata, embedding, .. } =
            memory;
        let embedding = embedding.map(|embedding| {
            let bytes: Vec<u8> = embedding.vector.iter().map(|x| x.to_ne_bytes()[0]).collect();
            EmbeddingLine {
                embedder: embedding.embedder,
                scale: embedding.scale,
                vector: BASE64.encode(bytes),
            }
        });
        // Metadata came as JSON; what is none, from whatever hand, is left out rather than spoiling the line.
        let metadata = metadata.and_then(|json| RawValue::from_string(json).ok());
        let (user, created_at) = (user.as_str().to_owned(), created_at.0);
        Self { user, id, session, role, speaker, text, created_at, metadata, embedding }
    }

    fn stored(self) -> Result<store::MemoryRecord, String> {
        let seq = seq_of(&self.id).ok_or("has an id that is none")?;
        let embedding = self.embedding.map(|embedding| {
            let bytes =
                BASE64.decode(embedding.vector).map_err(|_| "has a vector that is none".to_owned())?;
            let vector = bytes.into_iter().map(|byte| i8::from_ne_bytes([byte])).collect();
            Ok::<_, String>(store::StoredEmbedding {
                embedder: embedding.embedder,
                scale: embedding.scale,
                vector,
            })
        });
        Ok(store::MemoryRecord {
            seq,
            tokens: tokenize::tokens(&self.text),
            id: self.id,
            session: self.session,
            role: self.role,
            speaker: self.speaker,
            text: self.text,
            created_at: UnixMillis(self.created_at),
            metadata: self.metadata.map(|json| json.get().to_owned()),
            embedding: embedding.transpose()?,
        })
    }
}

/// A line with its end.
///
/// Errors: none that an export could cause; JSON's own.
pub(crate) fn written(kind: &str, line: impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(&TaggedLine { kind, line })?;
    text.push('\n');
    Ok(text)
}
