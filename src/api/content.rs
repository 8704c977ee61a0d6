//! What a client sent: JSON, a form, or nothing we look into.

use bytes::Bytes;

use super::{
    multipart::Form,
    request::Peek,
    rewrite::{self, How, Rewrite},
    splice::Parts,
};

/// A request body, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    /// A JSON object.
    Json(Box<Peek>),
    /// `multipart/form-data`
    Form(Form),
    /// Of a request that pins its target and says nothing about a model.
    #[default]
    Opaque,
}

impl Content {
    /// The model that is asked for.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Json(peek) => Some(&peek.model),
            Self::Form(form) => Some(&form.model),
            Self::Opaque => None,
        }
    }

    /// Whether the answer is to be streamed.
    pub fn stream(&self) -> bool {
        match self {
            Self::Json(peek) => peek.stream,
            Self::Form(form) => form.stream,
            Self::Opaque => false,
        }
    }

    /// What was read of a JSON body.
    pub fn json(&self) -> Option<&Peek> {
        match self {
            Self::Json(peek) => Some(peek),
            _ => None,
        }
    }

    /// The ids a body claims, in the order in which they count.
    pub fn claims(&self) -> [Option<&str>; 3] {
        let Some(peek) = self.json() else { return [None; 3] };
        [peek.user.as_deref(), peek.safety_identifier.as_deref(), peek.metadata_user_id.as_deref()]
    }

    /// A rough count of the tokens to read: four bytes each, as English and code have it.
    pub fn prompt_tokens(&self) -> u64 {
        self.json().map_or(0, |peek| (peek.prompt_bytes / 4) as u64)
    }

    /// `body` with another model name. Nothing is copied.
    pub fn with_model(&self, body: &Bytes, model: &str) -> Parts {
        match self {
            Self::Json(peek) => rewrite::with_model(body, peek, model),
            Self::Form(form) => form.with_model(body, model),
            Self::Opaque => Parts::from(body.clone()),
        }
    }

    /// `body` with another model name and an answer to go on from; `None` where that cannot be asked.
    pub fn continue_from(&self, body: &Bytes, model: &str, said: &str, how: How) -> Option<Parts> {
        let rewrite = Rewrite::new(body, self.json()?).model(model);
        Some(rewrite.continue_from(said, how)?.finish())
    }
}
