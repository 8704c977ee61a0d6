//! The schema, brought to its newest version by whichever gateway comes first, and what the server is able to do.
//!
//! A schema that is newer than this program is left alone and not used.

use tokio_postgres::Client;

use super::errors;
use crate::memory::store::StoreError;

/// Every schema, in order: the first makes version 1, the next version 2 from it, and so on.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// What pgvector adds; may be run again.
const PGVECTOR: &str = include_str!("schema/pgvector.sql");

/// The oldest pgvector that goes on searching when the rows it found are other users'.
const PGVECTOR_SINCE: (u32, u32) = (0, 8);

/// Gateways that start at the same time take turns: "Conc" in ASCII.
const LOCK: i64 = 0x436F_6E63;

/// What is known of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerInfo {
    /// Candidates can be found by their meaning.
    pub has_vectors: bool,
}

/// Makes the schema ready to be used.
///
/// Errors: [`StoreError::Newer`], [`StoreError::Denied`] if the role may not create what is missing, and the troubles
/// of the server.
pub(super) async fn prepare(client: &Client) -> Result<ServerInfo, StoreError> {
    let batch =
        async |sql: &str| client.batch_execute(sql).await.map_err(|error| errors::store_error(&error));
    batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})")).await?;
    let done = migrate(client).await;
    let has_vectors = match done {
        Ok(()) => add_vectors(client).await,
        Err(error) => Err(error),
    };
    batch(if has_vectors.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    let server = ServerInfo { has_vectors: has_vectors? };
    log_server(client, server).await?;
    Ok(server)
}

async fn migrate(client: &Client) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    // Asked first: a role that may create nothing can still use what is there.
    if !is(client, "to_regclass('concierge.version') IS NOT NULL").await? {
        let make = "CREATE SCHEMA IF NOT EXISTS concierge;
                    CREATE TABLE concierge.version (version bigint NOT NULL);
                    INSERT INTO concierge.version VALUES (0)";
        client.batch_execute(make).await.map_err(|error| errors::store_error(&error))?;
    }
    let found: i64 = client
        .query_one("SELECT version FROM concierge.version", &[])
        .await
        .map_err(|error| errors::store_error(&error))?
        .get(0);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        let raised = format!("{step}; UPDATE concierge.version SET version = version + 1");
        client.batch_execute(&raised).await.map_err(|error| errors::store_error(&error))?;
    }
    Ok(())
}

/// Whether candidates can be found by meaning: the extension is there, or can be made, and so can our table.
async fn add_vectors(client: &Client) -> Result<bool, StoreError> {
    if !is(client, "EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')").await? {
        return Ok(false);
    }
    let batch =
        async |sql: &str| client.batch_execute(sql).await.map_err(|error| errors::store_error(&error));
    batch("SAVEPOINT vectors").await?;
    let made = async {
        // A role that may not create it may use it if somebody has.
        if !is(client, "EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')").await? {
            batch("CREATE EXTENSION vector").await?;
        }
        if !is_recent(client).await? {
            return Ok(false);
        }
        if !is(client, "to_regclass('concierge.meanings') IS NOT NULL").await? {
            batch(PGVECTOR).await?;
        }
        Ok(true)
    };
    match made.await {
        Err(StoreError::Away(why)) => Err(StoreError::Away(why)),
        Ok(true) => batch("RELEASE vectors").await.map(|()| true),
        Ok(false) | Err(_) => batch("ROLLBACK TO vectors").await.map(|()| false),
    }
}

async fn is_recent(client: &Client) -> Result<bool, StoreError> {
    let version = client
        .query_one("SELECT extversion FROM pg_extension WHERE extname = 'vector'", &[])
        .await
        .map_err(|error| errors::store_error(&error))?;
    let version: String = version.get(0);
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    Ok((parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= PGVECTOR_SINCE)
}

/// What an operator should know of the server, once.
async fn log_server(client: &Client, server: ServerInfo) -> Result<(), StoreError> {
    let by = if server.has_vectors { "words and meaning (pgvector)" } else { "words alone (no pgvector)" };
    tracing::info!("memory: PostgreSQL is there; users too large for memory are searched by {by}");
    if is(client, "(SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)").await? {
        tracing::warn!(
            "memory.url: its role is above row-level security, the second wall between users: use a plain role"
        );
    }
    if is(client, "'off' IN (current_setting('fsync'), current_setting('synchronous_commit'))").await? {
        tracing::warn!(
            "memory: PostgreSQL runs with fsync or synchronous_commit off: a crash may lose what was acknowledged"
        );
    }
    Ok(())
}

async fn is(client: &Client, condition: &str) -> Result<bool, StoreError> {
    let row = client.query_one(&format!("SELECT coalesce({condition}, false)"), &[]).await;
    Ok(row.map_err(|error| errors::store_error(&error))?.get(0))
}
