//! Hands a chat to the memory after the last byte of its answer.

use std::sync::Arc;

use crate::{
    call::AnswerCapture,
    memory::{capture_queue::Exchange, service::MemoryService},
    user::UserId,
};

/// Remembers an exchange when it is dropped: with the last byte of the answer, or when the client leaves.
pub(crate) struct CaptureOnDrop(Option<CaptureState>);

struct CaptureState {
    memory: Arc<MemoryService>,
    user: UserId,
    said: String,
    capture: Option<Arc<AnswerCapture>>,
}

impl CaptureOnDrop {
    /// For what the user `said`, and the answer that `capture` will hold.
    pub(crate) fn new(
        memory: Arc<MemoryService>,
        user: UserId,
        said: String,
        capture: Option<Arc<AnswerCapture>>,
    ) -> Self {
        Self(Some(CaptureState { memory, user, said, capture }))
    }

    /// There was no answer, and the client will ask again.
    pub(crate) fn discard(mut self) {
        self.0 = None;
    }
}

impl Drop for CaptureOnDrop {
    fn drop(&mut self) {
        if let Some(CaptureState { memory, user, said, capture }) = self.0.take() {
            let answered = capture.and_then(|capture| capture.take());
            memory.enqueue(Exchange { user, said, answered });
        }
    }
}
