//! Edits of a request body: another model name, a request for usage, an inserted message, a continued answer.
//!
//! Every edit is a few bytes spliced between slices of the original. Everything else must reach the provider
//! byte for byte.

use std::ops::Range;

use bytes::Bytes;
use serde_json::json;

use super::{
    request_peek::Peek,
    splice::{Edit, SplicedParts},
};

/// How a provider continues a last assistant message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By default, without a marker.
    Assistant,
    /// With `"prefix": true` in the message (Mistral, DeepSeek).
    Prefix,
    /// With `continue_final_message` in the body (vLLM).
    Vllm,
}

/// Edits of one body, collected and then made at once.
#[derive(Debug, Clone)]
pub(crate) struct Rewrite<'a> {
    body: &'a Bytes,
    peek: &'a Peek,
    edits: Vec<Edit>,
}

/// `body` with another model name, in at most three pieces; unchanged if it is the same.
pub(crate) fn with_model(body: &Bytes, peek: &Peek, model: &str) -> SplicedParts {
    Rewrite::new(body, peek).model(model).finish()
}

impl<'a> Rewrite<'a> {
    /// A rewrite without edits. `peek` must come from this very body.
    pub(crate) fn new(body: &'a Bytes, peek: &'a Peek) -> Self {
        Self { body, peek, edits: Vec::new() }
    }

    /// Sets the model.
    #[must_use]
    pub(crate) fn model(self, model: &str) -> Self {
        if model == self.peek.model {
            return self;
        }
        let at = self.peek.model_at.clone();
        self.edit(at, json!(model).to_string())
    }

    /// Appends an assistant message with what has been said so far, so that the provider goes on from there.
    ///
    /// `None` where that cannot be done: no messages, no text so far, a last message that is the assistant's already,
    /// or a body that states itself how to continue. The caller must rule out tools, JSON output and several
    /// choices.
    pub(crate) fn continue_from(self, said: &str, how: How) -> Option<Self> {
        let messages = self.peek.messages.clone()?;
        let last_is_theirs =
            self.peek.messages(self.body).last().is_some_and(|last| last.role != "assistant");
        if said.is_empty() || !last_is_theirs || (how == How::Vllm && self.peek.says_how_to_continue) {
            return None;
        }
        let prefix = if how == How::Prefix { ",\"prefix\":true" } else { "" };
        let message = format!(",{{\"role\":\"assistant\",\"content\":{}{prefix}}}", json!(said));
        let end = messages.end.checked_sub(1)?;
        let appended = self.edit(end..end, message);
        if how != How::Vllm {
            return Some(appended);
        }
        let open = appended.peek.open;
        Some(appended.edit(open..open, "\"continue_final_message\":true,\"add_generation_prompt\":false,"))
    }

    /// The body with all edits made.
    pub(crate) fn finish(self) -> SplicedParts {
        // The replaced values lie side by side and insertions lie outside them, so nothing overlaps.
        SplicedParts::new(self.body, self.edits).unwrap_or_else(|| SplicedParts::from(self.body.clone()))
    }

    /// A later edit of the same value replaces an earlier one.
    fn edit(mut self, range: Range<usize>, with: impl Into<String>) -> Self {
        self.edits.retain(|earlier| earlier.range.is_empty() || earlier.range != range);
        self.edits.push(Edit { range, with: Bytes::from(with.into()) });
        self
    }
}

#[cfg(test)]
mod tests;
