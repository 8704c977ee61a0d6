//! What a request may cost in tokens, before anybody has counted: for the limits, not for a bill.

use crate::{
    admission::request::TokenCost,
    openai::{Api, request_body::RequestContent},
};

/// The cost of asking for `content`.
pub(crate) fn estimate(api: Api, content: &RequestContent) -> TokenCost {
    let Some(peek) = content.json() else { return TokenCost { prompt: 0, answer: Some(0) } };
    let answer = match api {
        Api::Chat | Api::Completions | Api::Responses => {
            peek.max_tokens.map(|most| most.saturating_mul(peek.choices.max(1)))
        }
        Api::Embeddings | Api::Other => Some(0),
    };
    TokenCost { prompt: content.prompt_tokens(), answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::request_peek::peek;

    fn of(api: Api, body: &str) -> TokenCost {
        estimate(api, &RequestContent::Json(Box::new(peek(body.as_bytes()).unwrap())))
    }

    #[test]
    fn the_prompt_is_estimated_and_the_answer_taken_at_its_most() {
        let messages = r#"[{"role":"user","content":"0123456789"}]"#;
        let body = format!(r#"{{"model":"m","max_tokens":100,"n":3,"messages":{messages}}}"#);
        assert_eq!(of(Api::Chat, &body), TokenCost { prompt: messages.len() as u64 / 4, answer: Some(300) });
        let open = format!(r#"{{"model":"m","messages":{messages}}}"#);
        assert_eq!(of(Api::Chat, &open).answer, None);
        let embeddings = of(Api::Embeddings, r#"{"model":"m","input":"0123456789"}"#);
        assert_eq!(embeddings, TokenCost { prompt: 3, answer: Some(0) });
        assert_eq!(estimate(Api::Other, &RequestContent::Opaque), TokenCost { prompt: 0, answer: Some(0) });
    }

    #[test]
    fn a_picture_is_not_read_letter_by_letter() {
        let picture = "A".repeat(1_000_000);
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":
            {{"url":"data:image/png;base64,{picture}"}}}}]}}]}}"#
        );
        let prompt = of(Api::Chat, &body).prompt;
        assert!((1000..1100).contains(&prompt), "{prompt}");
    }

    #[test]
    fn absurd_wishes_do_not_overflow() {
        let body = r#"{"model":"m","max_tokens":18446744073709551615,"n":99999,"messages":[]}"#;
        assert_eq!(of(Api::Chat, body).answer, Some(u64::MAX));
    }
}
