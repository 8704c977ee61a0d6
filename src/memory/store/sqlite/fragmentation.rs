//! How much of the file is dead: emptied rows keep their pages until the file is rewritten.

use rusqlite::Connection;

use crate::memory::store::StoreError;

/// A smaller file is never rewritten.
const WORTHWHILE: i64 = 16 << 20;

/// Whether most of the file is dead space. Reads the whole table of texts.
pub(super) fn is_mostly_dead(connection: &Connection) -> Result<bool, StoreError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let page = number("PRAGMA page_size")?;
    let total = number("PRAGMA page_count")? * page;
    if total < WORTHWHILE {
        return Ok(false);
    }
    let free = number("PRAGMA freelist_count")? * page;
    let unused = number(
        "SELECT coalesce(sum(unused), 0) FROM dbstat WHERE name IN ('memories', 'vectors', 'contexts') AND aggregate = TRUE",
    )?;
    Ok(free + unused > total / 2)
}
