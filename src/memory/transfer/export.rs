//! Writing: user by user, each as of one moment. A file appears under its name only when it is whole and synced.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use indicatif::ProgressBar;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{
    STANDARD, in_words,
    line::{self, FORMAT, TransferEnd, TransferHead, VERSION, checksum},
};
use crate::{
    memory::store::{self, Store},
    user::UserId,
};

/// Users that are asked for at a time.
const USERS: usize = 1000;

pub(super) async fn to(store: Arc<dyn Store>, file: &Path) -> Result<String, String> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let part = (file.as_os_str() != STANDARD).then(|| beside(file));
    let to: Box<dyn Write + Send> = match &part {
        Some(part) => Box::new(File::create(part).map_err(failed)?),
        None => Box::new(io::stdout()),
    };
    let out = Arc::new(Mutex::new(ExportWriter::new(to)));
    let done = all(&*store, &out).await;
    let end = done.and_then(|()| out.lock().end().map_err(failed));
    match (end, part) {
        (Ok(end), Some(part)) => finish(&part, file).map(|()| end).map_err(failed),
        (Err(error), Some(part)) => {
            drop(fs::remove_file(part));
            Err(error)
        }
        (end, None) => end,
    }
    .map(|end| format!("exported {} memories and {} contexts", end.memories, end.contexts))
}

/// Where the file grows.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn finish(part: &Path, file: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    fs::rename(part, file)
}

async fn all(store: &dyn Store, out: &Arc<Mutex<ExportWriter>>) -> Result<(), String> {
    // Drawn on a terminal alone.
    let bar = ProgressBar::new_spinner();
    out.lock().write("head", TransferHead { format: FORMAT.to_owned(), version: VERSION });
    let mut after = None;
    loop {
        let users = store.users(after.take(), USERS).await.map_err(in_words)?;
        let Some(last) = users.last().cloned() else { return Ok(()) };
        for user in users {
            one(store, &user, out).await?;
            let memories = out.lock().end.memories;
            bar.set_message(format!("{memories} memories"));
            bar.tick();
        }
        after = Some(last);
    }
}

async fn one(store: &dyn Store, user: &UserId, out: &Arc<Mutex<ExportWriter>>) -> Result<(), String> {
    let (into, of) = (out.clone(), user.clone());
    let sink = move |memories: Vec<store::MemoryRecord>| {
        let mut out = into.lock();
        for memory in memories {
            out.write("memory", line::MemoryLine::new(&of, memory));
            out.end.memories += 1;
        }
    };
    store.load(user, Box::new(sink)).await.map_err(in_words)?;
    let context = store.context(user).await.map_err(in_words)?;
    let mut out = out.lock();
    if context.updated_at.is_some() {
        let json = serde_json::value::RawValue::from_string(context.json);
        let json = json.map_err(|_| format!("memory: the context of {user} is no JSON"))?;
        out.write("context", line::ContextLine { user: user.as_str().to_owned(), context: json });
        out.end.contexts += 1;
    }
    // A full disk or a closed pipe is known here, and not after the last user.
    out.failed.take().map_or(Ok(()), |error| Err(format!("the export could not be written: {error}")))
}

/// What is written, and what is known of it.
struct ExportWriter {
    to: BufWriter<Box<dyn Write + Send>>,
    hash: Sha256,
    end: TransferEnd,
    failed: Option<io::Error>,
}

impl ExportWriter {
    fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to: BufWriter::new(to), hash: Sha256::new(), end: TransferEnd::default(), failed: None }
    }

    fn write(&mut self, kind: &str, line: impl serde::Serialize) {
        let written = line::written(kind, line).map_err(io::Error::from).and_then(|text| {
            self.hash.update(&text);
            self.to.write_all(text.as_bytes())
        });
        self.failed = self.failed.take().or(written.err());
    }

    fn end(&mut self) -> io::Result<TransferEnd> {
        let sha256 = checksum(&self.hash);
        let end = TransferEnd { sha256, ..self.end.clone() };
        self.write("end", end.clone());
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.to.flush().map(|()| end),
        }
    }
}
