//! A request body: JSON, a form, or bytes we do not read.

use bytes::Bytes;

use super::{
    multipart::Form,
    request_peek::Peek,
    rewrite::{self, How, Rewrite},
    splice::SplicedParts,
};

/// Bytes per token, in English text and code.
const BYTES_OF_A_TOKEN: usize = 4;
/// Tokens of one image, whatever its size in bytes; about what providers count for a large one.
const TOKENS_OF_AN_IMAGE: usize = 1000;

/// What was read of a request body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RequestContent {
    /// A JSON object, and what was read of it.
    Json(Box<Peek>),
    /// `multipart/form-data`
    Form(Form),
    /// The body of a request that pins its target and names no model.
    #[default]
    Opaque,
}

impl RequestContent {
    /// The requested model.
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

    /// The peek of a JSON body.
    pub fn json(&self) -> Option<&Peek> {
        match self {
            Self::Json(peek) => Some(peek),
            Self::Form(_) | Self::Opaque => None,
        }
    }

    /// The user ids that a body claims, in order of precedence.
    pub fn claims(&self) -> [Option<&str>; 3] {
        let Some(peek) = self.json() else { return [None; 3] };
        [peek.user.as_deref(), peek.safety_identifier.as_deref(), peek.metadata_user_id.as_deref()]
    }

    /// A rough estimate of the prompt's tokens: one for four bytes, as in English and code, and a thousand for each
    /// image or sound that is inlined in the body.
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

    /// `body` with another model name and an answer to continue; `None` where that cannot be expressed.
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
