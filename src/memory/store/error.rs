//! Why a store did not do what it was asked.
//!
//! `Display` is for the operator and the log. The client is told less ([`StoreError::for_client`]): it must never
//! read of paths, files or other programs. Neither text ever contains a word of a memory.

use std::path::PathBuf;

use thiserror::Error;

/// One refusal or failure of a store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum StoreError {
    /// Too much waits already. Try again.
    #[error("too many calls wait for the memory store")]
    Busy,
    /// The gateway is stopping.
    #[error("the memory store is closed")]
    Closed,
    /// The idempotency key stands for other content, or for memories that are forgotten.
    #[error("the idempotency key was used before for other memories, or for memories that are forgotten")]
    Duplicate,
    /// The context is not the one that the caller has seen.
    #[error("the context was changed in the meantime")]
    Stale {
        /// The `ETag` of the present one.
        etag: String,
    },
    /// A context must be a JSON object, nested at most 128 deep.
    #[error("the context is not a JSON object, or is nested too deeply")]
    NotAnObject,
    /// The server cannot be reached, or is not ready. Try again.
    #[error("the memory store is away: {0}")]
    Away(String),
    /// The server went away, or fell silent, in the middle of a write.
    #[error("the memory store did not confirm a write")]
    Unsure,
    /// The server does not let us in, or the URL cannot be used.
    #[error("the memory store refuses us: {0}")]
    Denied(String),
    /// What the context would become is too large.
    #[error("the context would be larger than {limit} bytes")]
    TooLarge {
        /// The largest, in bytes.
        limit: usize,
    },
    /// Another process has locked the database for longer than a call may wait.
    #[error("the memory store is locked by another process")]
    Locked,
    /// No room for the write.
    #[error("the disk of the memory store is full")]
    Full,
    #[error(
        "the memory store may not be written: check the owner and the permissions of its file and folder"
    )]
    ReadOnly,
    /// The file is damaged.
    #[error(
        "the memory store is damaged ({0}); it was left as it is. Restore it from a backup, or move it away \
         to begin with an empty one"
    )]
    Corrupt(String),
    /// A newer version of this program has written the file.
    #[error(
        "the memory store was written by a newer version (schema {found}, this version knows {known}); it was \
         left as it is"
    )]
    Newer {
        /// What the file says.
        found: i64,
        /// The newest that this version can read.
        known: i64,
    },
    /// The file is a database, but not one of ours.
    #[error("the file is a database of another program; it was left as it is")]
    Foreign,
    /// Anything else that the database or the file system says.
    #[error("the memory store failed: {0}")]
    Failed(String),
    /// The store could not be opened.
    #[error("{}: {error}", path.display())]
    Open {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: Box<StoreError>,
    },
}

impl StoreError {
    /// The words of what is the store's own trouble.
    pub(crate) const OUTAGES: [&str; 12] = [
        "away",
        "busy",
        "closed",
        "corrupt",
        "denied",
        "failed",
        "foreign",
        "full",
        "locked",
        "newer",
        "read_only",
        "unsure",
    ];

    /// Its word in metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::Duplicate => "duplicate",
            Self::Stale { .. } => "stale",
            Self::NotAnObject => "not_an_object",
            Self::TooLarge { .. } => "too_large",
            Self::Away(_) => "away",
            Self::Unsure => "unsure",
            Self::Denied(_) => "denied",
            Self::Locked => "locked",
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::Corrupt(_) => "corrupt",
            Self::Newer { .. } => "newer",
            Self::Foreign => "foreign",
            Self::Failed(_) => "failed",
            Self::Open { error, .. } => error.as_str(),
        }
    }

    /// Whether the store is away, whoever asks; otherwise the caller can do something about it.
    pub(crate) fn is_outage(&self) -> bool {
        !matches!(self, Self::Duplicate | Self::Stale { .. } | Self::NotAnObject | Self::TooLarge { .. })
    }

    /// Whether the same call may work in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Busy | Self::Away(_) | Self::Unsure | Self::Locked)
    }

    /// One sentence that may be shown to anybody.
    pub(crate) fn for_client(&self) -> &'static str {
        match self {
            Self::Duplicate => {
                "This idempotency key was used before for other memories, or for memories that are forgotten."
            }
            Self::Stale { .. } => "The context was changed in the meantime: read it again, then write.",
            Self::NotAnObject => "The context must be a JSON object, nested at most 128 levels deep.",
            Self::Unsure => {
                "The memory store did not confirm the write, which may have been done or not: repeat it under the \
                 same idempotency key."
            }
            Self::TooLarge { .. } => "The context would be larger than it may be. Nothing was changed.",
            Self::Busy => "Too many requests wait for the memory store. Please try again.",
            Self::Closed
            | Self::Away(_)
            | Self::Denied(_)
            | Self::Locked
            | Self::Full
            | Self::ReadOnly
            | Self::Corrupt(_)
            | Self::Newer { .. }
            | Self::Foreign
            | Self::Failed(_)
            | Self::Open { .. } => "The memory store is not available at the moment. Nothing was changed.",
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Locked,
            Some(Code::DiskFull) => Self::Full,
            Some(Code::ReadOnly | Code::PermissionDenied) => Self::ReadOnly,
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Corrupt(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_of_no_path_and_an_operator_does() {
        let inner = StoreError::Newer { found: 9, known: 1 };
        let error = StoreError::Open { path: "/var/lib/secret.db".into(), error: Box::new(inner) };
        assert!(error.is_outage());
        assert!(!error.for_client().contains("secret"));
        let text = error.to_string();
        assert!(text.starts_with("/var/lib/secret.db: ") && text.contains("schema 9"), "{text}");
    }

    #[test]
    fn what_the_caller_can_cure_is_no_outage() {
        let curable = [
            StoreError::Duplicate,
            StoreError::NotAnObject,
            StoreError::Stale { etag: "x".into() },
            StoreError::TooLarge { limit: 1 },
        ];
        for error in curable {
            assert!(!error.is_outage(), "{error}");
        }
    }
}
