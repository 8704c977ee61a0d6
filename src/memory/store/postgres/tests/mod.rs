//! The PostgreSQL store against a real server: what it promises, and every trouble that a server can have.
//!
//! The server is the one that `CONCIERGE_TEST_POSTGRES` names, see `tests/postgres/with-server`; each test makes a
//! database of its own. Without it these tests do nothing and say so.

use std::{
    env,
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;
use tokio_postgres::{Client, NoTls};

use super::PostgresStore;
use crate::{
    memory::{
        store::{conformance::*, *},
        text::preselect,
    },
    tasks::Tasks,
};

mod large;
mod schema;
mod several;
mod trouble;
mod walls;

conformance_tests!(TestDatabase);

/// The server's URL, which ends in the name of a database.
static SERVER: LazyLock<Option<String>> = LazyLock::new(|| env::var("CONCIERGE_TEST_POSTGRES").ok());

/// An empty database.
struct TestDatabase {
    name: String,
    url: String,
}

impl TestStore for TestDatabase {
    type Store = PostgresStore;

    /// Each try is a database of its own.
    const CASES: u32 = 4;

    fn empty() -> Option<Self> {
        let Some(server) = SERVER.as_deref() else {
            eprintln!("skipped: CONCIERGE_TEST_POSTGRES names no server");
            return None;
        };
        let name = format!("t{:016x}", fastrand::u64(..));
        batch_at(server, &format!("CREATE DATABASE {name}"));
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        Some(Self { name, url })
    }

    fn open(&self) -> PostgresStore {
        PostgresStore::new(&self.url, &Tasks::new(), preselect::memory).unwrap()
    }

    /// Whether `word` is in any row of any table.
    fn holds(&self, word: &str) -> bool {
        let found =
            "SELECT string_agg(query_to_xml(format('SELECT * FROM concierge.%I', tablename), true, true, '')
                     ::text, '') FROM pg_tables WHERE schemaname = 'concierge'";
        let names = column(&self.url, "SELECT name FROM concierge.users");
        names.iter().any(|name| {
            let naming =
                format!("SELECT set_config('concierge.user', '{}', false)", name.replace('\'', "''"));
            column_after(&self.url, &naming, found).concat().contains(word)
        }) || names.iter().any(|name| name.contains(word))
    }
}

impl TestDatabase {
    /// Opens it when its schema is made, however slow the machine is.
    async fn ready(&self) -> PostgresStore {
        let store = self.open();
        for _ in 0..20 {
            if store.epoch(&user("nobody")).await.is_ok() {
                return store;
            }
        }
        panic!("the server does not come up");
    }

    /// Runs statements as another program would.
    fn run(&self, sql: &str) {
        batch_at(&self.url, sql);
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some(server) = SERVER.as_deref() {
            batch_at(server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

fn batch_at(url: &str, sql: &str) {
    column_after(url, sql, "SELECT ''");
}

fn column(url: &str, sql: &str) -> Vec<String> {
    column_after(url, "", sql)
}

/// First column of a query after other statements, on a connection and a thread of its own.
fn column_after(url: &str, first: &str, sql: &str) -> Vec<String> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = client(url).await;
            client.batch_execute(first).await.unwrap();
            let rows = client.query(sql, &[]).await.unwrap();
            rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
        })
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// A connection of another program.
async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    task(connection);
    client
}
