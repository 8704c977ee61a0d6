//! Reading: the whole file is looked at first, then taken in by the user, some hundred memories at a time.

use std::{path::Path, sync::Arc};

use indicatif::ProgressBar;

use super::{in_words, line::TransferLine, source::TransferSource};
use crate::{
    memory::store::{Condition, ContextChange, MemoryRecord, Store, UnixMillis},
    user::UserId,
};

/// Memories and bytes of text of one write.
const MEMORIES: usize = 256;
const BYTES: usize = 1 << 20;

pub(super) async fn from(store: Arc<dyn Store>, file: &Path) -> Result<String, String> {
    let mut source = TransferSource::open(file)?;
    // Drawn on a terminal alone.
    let bar = ProgressBar::new(0).with_message("checking");
    source.read(&bar, async |_| Ok(())).await?;
    bar.reset();
    bar.set_message("importing");
    let mut taking =
        ImportState { store, user: None, waiting: Vec::new(), bytes: 0, memories: 0, contexts: 0 };
    let end = source.read(&bar, async |line| taking.take(line).await).await?;
    taking.flush().await?;
    let (memories, contexts) = (taking.memories, taking.contexts);
    Ok(format!(
        "imported {memories} of {} memories and {contexts} of {} contexts; the others were there",
        end.memories, end.contexts
    ))
}

struct ImportState {
    store: Arc<dyn Store>,
    /// The user whose memories wait.
    user: Option<UserId>,
    waiting: Vec<MemoryRecord>,
    bytes: usize,
    /// Written so far.
    memories: usize,
    contexts: usize,
}

impl ImportState {
    async fn take(&mut self, line: TransferLine) -> Result<(), String> {
        match line {
            TransferLine::Memory(user, memory) => {
                let full = self.waiting.len() >= MEMORIES || self.bytes >= BYTES;
                if full || self.user.as_ref().is_some_and(|waiting| *waiting != user) {
                    self.flush().await?;
                }
                self.bytes += memory.text.len();
                self.waiting.push(*memory);
                self.user = Some(user);
                Ok(())
            }
            TransferLine::Context(user, json) => self.context(&user, json).await,
            TransferLine::Head(_) | TransferLine::End(_) => Ok(()),
        }
    }

    async fn context(&mut self, user: &UserId, json: String) -> Result<(), String> {
        if self.store.context(user).await.map_err(in_words)?.json == json {
            return Ok(());
        }
        let now: UnixMillis = std::time::SystemTime::now().into();
        let change = ContextChange::Replace(json);
        self.store.write_context(user, change, Condition::Always, now).await.map_err(in_words)?;
        self.contexts += 1;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), String> {
        self.bytes = 0;
        let Some(user) = self.user.take() else { return Ok(()) };
        let waiting = std::mem::take(&mut self.waiting);
        self.memories += self.store.restore(&user, waiting).await.map_err(in_words)?;
        Ok(())
    }
}
