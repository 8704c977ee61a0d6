//! Tells when the configuration file may have changed.
//!
//! It watches the directory, because editors replace files and Kubernetes swaps a symlink beside them, and the file
//! itself, because a single bind-mounted file changes without its directory hearing of it. It says "perhaps": whoever
//! asks compares the contents. It reads nothing.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

/// A save is several events; it is over when none came for this long.
const QUIET: Duration = Duration::from_millis(200);
/// A file that never rests is looked at all the same.
const RESTLESS: Duration = Duration::from_secs(2);

/// A watch on one file, until it is dropped.
pub(crate) struct Watch {
    touched: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches the file at `path`, which need not exist, from now on.
    ///
    /// # Errors
    /// One sentence: the directory cannot be watched.
    pub(crate) fn new(path: &Path) -> Result<Self, String> {
        let places = Places::new(path);
        let touched = Arc::new(Notify::new());
        let (names, touch) = (places.names, touched.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means lost events: perhaps one of ours.
            if event.map_or(true, |event| concerns(&event, &names)) {
                touch.notify_one();
            }
        });
        let in_words = |error: notify::Error| format!("{} cannot be watched: {error}", path.display());
        let mut watcher = watcher.map_err(in_words)?;
        for directory in &places.directories {
            watcher.watch(directory, RecursiveMode::NonRecursive).map_err(in_words)?;
        }
        if let Err(error) = watcher.watch(path, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, "only the directory of the configuration is watched");
        }
        Ok(Self { touched, _watcher: watcher })
    }

    /// Waits until the file may have changed, and has come to rest.
    pub(crate) async fn changed(&self) {
        self.touched.notified().await;
        let patience = Instant::now() + RESTLESS;
        let rest = async { while timeout(QUIET, self.touched.notified()).await.is_ok() {} };
        // Either way it is looked at now.
        drop(timeout_at(patience, rest).await);
    }
}

/// Where the file is, and where the link at its place leads.
struct Places {
    directories: BTreeSet<PathBuf>,
    names: Vec<OsString>,
}

impl Places {
    fn new(path: &Path) -> Self {
        let paths = [Some(path.to_owned()), path.canonicalize().ok()];
        let paths = paths.iter().flatten();
        let directory = |path: &PathBuf| match path.parent() {
            Some(parent) if parent != Path::new("") => parent.canonicalize().unwrap_or(parent.to_owned()),
            _ => PathBuf::from("."),
        };
        Self {
            directories: paths.clone().map(directory).collect(),
            names: paths.filter_map(|path| path.file_name()).map(OsStr::to_owned).collect(),
        }
    }
}

/// Other files live in the directory too, a busy database perhaps. Kubernetes swaps `..data`.
fn concerns(event: &Event, names: &[OsString]) -> bool {
    let ours =
        |name: &OsStr| names.iter().any(|own| own == name) || name.as_encoded_bytes().starts_with(b"..");
    let changes = !matches!(event.kind, EventKind::Access(_));
    changes && (event.need_rescan() || event.paths.iter().filter_map(|path| path.file_name()).any(ours))
}

#[cfg(test)]
mod tests;
