//! Opening the file: looked at first, changed only when it is ours, whole and not newer than this program.
//!
//! A file that is refused keeps every byte. A file that is missing is made; one that is *lost* (its log is there) is not.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::check;
use crate::memory::store::StoreError;

/// Every schema, in order: the first makes version 1, the next version 2 from it, and so on.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Marks a database as ours: "Conc" in ASCII.
const APPLICATION_ID: i64 = 0x436F_6E63;

/// How long a statement waits for other processes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection that writes; the file is made, checked and brought to the newest schema. False: it has more than
/// `checked_at_once` bytes, of which only the head was checked.
pub(super) fn writer(path: &Path, checked_at_once: u64) -> Result<(Connection, bool), StoreError> {
    let checked = size(path)? <= checked_at_once;
    if is_new(path)? {
        create(path).map_err(|error| StoreError::Failed(error.to_string()))?;
    } else {
        inspect(path, checked)?;
    }
    let mut connection = connect(path)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Failed("its file system cannot hold a write-ahead log".to_owned()));
    }
    migrate(&mut connection)?;
    // Completes an erasing that the last process did not live to see; if somebody reads, a later one will.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok((connection, checked))
}

/// One more connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // fullfsync: on macOS an fsync alone does not reach the disk.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
    )?;
    // These two answer with a row.
    connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
    connection.query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))?;
    Ok(connection)
}

/// Whether there is no database yet. A log without its database is not nothing: SQLite would delete it.
fn is_new(path: &Path) -> Result<bool, StoreError> {
    if size(path)? > 0 {
        return Ok(false);
    }
    if size(&beside(path, "-wal"))? > 0 {
        return Err(StoreError::Corrupt(
            "the file is missing or empty, but its -wal file is there".to_owned(),
        ));
    }
    Ok(true)
}

/// Bytes of a file; 0 if there is none.
fn size(path: &Path) -> Result<u64, StoreError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(StoreError::Failed("it is a folder".to_owned())),
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(StoreError::Failed(error.to_string())),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// An empty file that only its owner may read, and that is still there after a power loss.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.sync_all()?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Refuses a file that is damaged (of which only `wholly` can be sure), newer or somebody else's, without changing it.
fn inspect(path: &Path, wholly: bool) -> Result<(), StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The last connection to close would otherwise move the log into the database.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if tables > 0 && number("PRAGMA application_id")? != APPLICATION_ID {
        return Err(StoreError::Foreign);
    }
    let known = known();
    if version > known {
        return Err(StoreError::Newer { found: version, known });
    }
    // SQLite takes the missing end of a page for zeros; as long as there is a log, the page may be in it.
    let cut = size(path)? % number("PRAGMA page_size")?.unsigned_abs() != 0;
    if cut && size(&beside(path, "-wal"))? == 0 {
        return Err(StoreError::Corrupt("its last page is cut off".to_owned()));
    }
    if wholly { check::whole(&connection) } else { Ok(()) }
}

/// Brings the schema to the newest version, each step in a transaction. It takes the write lock in any case: better
/// to learn now than at the first memory that nothing can be written.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    loop {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = step.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let next = usize::try_from(version).ok().and_then(|done| MIGRATIONS.get(done));
        let Some(sql) = next else {
            step.commit()?;
            return if version == known() {
                Ok(())
            } else {
                Err(StoreError::Newer { found: version, known: known() })
            };
        };
        step.execute_batch(sql)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", version + 1)?;
        step.commit()?;
    }
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}
