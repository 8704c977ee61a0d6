//! What is sent to a target that is to go on where another broke off.

use crate::{
    call::Call,
    config::Prefill,
    openai::{rewrite::How, splice},
    upstream::Target,
};

/// The text to go on from.
pub struct Continuation<'a> {
    /// The text that the client has.
    pub said: &'a str,
    /// Not after a target has refused it.
    pub prefill: bool,
}

impl Continuation<'_> {
    /// The body for `target`: with the text to go on from, where it can.
    pub fn body_for(&self, call: &Call, target: &Target) -> splice::SplicedParts {
        self.prefilled(call, target)
            .unwrap_or_else(|| call.upstream.content.with_model(&call.upstream.body, &target.name.model))
    }

    /// The body with that text as the assistant's own; `None` where the target cannot, or may not, be asked so.
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
