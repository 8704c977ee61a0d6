//! What a client sent: JSON, a form, or nothing we look into.

use bytes::Bytes;

use super::{
    multipart::Form,
    request_peek::Peek,
    rewrite::{self, How, Rewrite},
    splice::SplicedParts,
};

/// English and code have four bytes to a token.
const BYTES_OF_A_TOKEN: usize = 4;
/// A picture, whatever its size in bytes; about what providers count for a large one.
const TOKENS_OF_AN_IMAGE: usize = 1000;

/// A request body, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RequestContent {
    /// A JSON object, and what was read of it.
    Json(Box<Peek>),
    /// `multipart/form-data`
    Form(Form),
    /// Of a request that pins its target and says nothing about a model.
    #[default]
    Opaque,
}

impl RequestContent {
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

    /// A rough count of the tokens to read: four bytes each, as English and code have it, and a thousand for an
    /// image or sound that is written out in the body.
    pub fn prompt_tokens(&self) -> u64 {
        let Some(peek) = self.json() else { return 0 };
        let (count, bytes) = peek.inline;
        (peek.prompt_bytes.saturating_sub(bytes) / BYTES_OF_A_TOKEN + count * TOKENS_OF_AN_IMAGE) as u64
    }

    /// `body` with another model name. Nothing is copied.
    pub fn with_model(&self, body: &Bytes, model: &str) -> SplicedParts {
        match self {
            Self::Json(peek) => rewrite::with_model(body, peek, model),
            Self::Form(form) => form.with_model(body, model),
            Self::Opaque => SplicedParts::from(body.clone()),
        }
    }

    /// `body` with another model name and an answer to go on from; `None` where that cannot be asked.
    pub fn continue_from(&self, body: &Bytes, model: &str, said: &str, how: How) -> Option<SplicedParts> {
        let rewrite = Rewrite::new(body, self.json()?).model(model);
        Some(rewrite.continue_from(said, how)?.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::request_peek;

    #[test]
    fn an_image_is_not_counted_by_its_letters() {
        let image = "A".repeat(100_000);
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}]}}]}}"#
        );
        let content = RequestContent::Json(Box::new(request_peek::peek(body.as_bytes()).unwrap()));
        let tokens = content.prompt_tokens();
        assert!((1000..1100).contains(&tokens), "{tokens}");
    }
}
