//! What is there after a crash: as the users see it, and as SQLite does.
//!
//! It must never mend anything: the file is opened for reading, beside the gateway that has already recovered it.

use std::{io, ops::AddAssign, path::Path};

use concierge_testkit::Gateway;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::ledger::{Account, Ledger};

/// What was found to be wrong, in numbers of memories, changes and files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrong {
    /// Acknowledged memories that are not there.
    pub lost: usize,
    /// Memories that are there more than once.
    pub twice: usize,
    /// Memories that nobody wrote like this, and batches of which a part is there.
    pub torn: usize,
    /// Counters that are behind what was acknowledged, or ahead of what was sent.
    pub contexts: usize,
    /// Files that SQLite finds damaged.
    pub damaged: usize,
}

impl AddAssign for Wrong {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.twice += other.twice;
        self.torn += other.torn;
        self.contexts += other.contexts;
        self.damaged += other.damaged;
    }
}

/// Everything that the users of `ledger` have.
///
/// # Errors
/// If the gateway gives something else than lines of JSON.
pub async fn users(gateway: &Gateway, ledger: &Ledger) -> io::Result<Wrong> {
    let mut wrong = Wrong::default();
    for (user, account) in &ledger.accounts {
        let client = gateway.client().header("x-user-id", user);
        let export = client.clone().header("accept", "application/x-ndjson").get("/v1/memories").await;
        let lines = export.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let texts = lines.map(|line| {
            let memory: Value = serde_json::from_slice(line)?;
            Ok(memory["text"].as_str().unwrap_or_default().to_owned())
        });
        let balance = account.balance(&texts.collect::<io::Result<Vec<_>>>()?);
        wrong += Wrong { lost: balance.lost, twice: balance.twice, torn: balance.torn, ..Wrong::default() };
        wrong.contexts += behind(account, &client.get("/v1/context").await.json());
    }
    Ok(wrong)
}

fn behind(account: &Account, context: &Value) -> usize {
    let wrong = account.counters.iter().filter(|(name, count)| {
        let there = context[name.as_str()].as_u64().unwrap_or(0);
        there < count.acknowledged || there > count.sent
    });
    wrong.count()
}

/// Whether SQLite finds the file whole, and no id twice in it.
pub fn file(path: &Path) -> Wrong {
    match verdict(path) {
        Ok((verdict, 0)) if verdict == "ok" => Wrong::default(),
        Ok((verdict, twice)) => {
            println!("integrity_check: {verdict}; {twice} ids given twice");
            Wrong { damaged: usize::from(verdict != "ok"), twice, ..Wrong::default() }
        }
        Err(error) => {
            println!("integrity_check: {error}");
            Wrong { damaged: 1, ..Wrong::default() }
        }
    }
}

fn verdict(path: &Path) -> rusqlite::Result<(String, usize)> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    let verdict = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let twice = "SELECT count(id) - count(DISTINCT id) FROM memories WHERE user IS NOT NULL";
    let twice: u32 = connection.query_row(twice, [], |row| row.get(0))?;
    Ok((verdict, twice as usize))
}
