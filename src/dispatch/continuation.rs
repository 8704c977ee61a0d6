//! The request to a target that is to continue a broken stream.

use crate::{
    call::Call,
    config::Prefill,
    openai::{rewrite::How, splice},
    upstream::Target,
};

/// The text to continue.
pub struct Continuation<'a> {
    /// The text that the client has.
    pub said: &'a str,
    /// Whether to use prefill; `false` after a target has rejected it.
    pub prefill: bool,
}

impl Continuation<'_> {
    /// The body for `target`: with the text prefilled where the target can continue it.
    pub fn body_for(&self, call: &Call, target: &Target) -> splice::SplicedParts {
        self.prefilled(call, target)
            .unwrap_or_else(|| call.upstream.content.with_model(&call.upstream.body, &target.name.model))
    }

    /// The body with that text prefilled as the assistant's; `None` where the provider or this request does not allow it.
    pub fn prefilled(&self, call: &Call, target: &Target) -> Option<splice::SplicedParts> {
        let how = match target.provider.config.prefill {
            _ if !self.prefill => return None,
            Prefill::None => return None,
            Prefill::Assistant => How::Assistant,
            Prefill::Prefix => How::Prefix,
            Prefill::Vllm => How::Vllm,
        };
        call.upstream.content.continue_from(&call.upstream.body, &target.name.model, self.said, how)
    }
}
