//! Connections: a few, lent for one call each, and thrown away when anything was odd.
//!
//! A connection comes back only through [`Session::release`]. One that is dropped, because its call failed, ran out
//! of time or was given up, is closed, and with it whatever it had begun: no call can inherit a transaction.
//! Nothing waits here without a limit.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};
use tokio_postgres::{Client, Statement};

use super::{address::PostgresUrl, errors, schema};
use crate::{memory::store::StoreError, tasks::Tasks};

/// Connections of one gateway. PostgreSQL takes 100 by default: room for six gateways and an operator.
const CONNECTIONS: usize = 16;
/// Calls that may wait for one.
const WAITING: usize = 4096;
/// How long a call waits for one. A new one needs at most as long: see [`PostgresUrl`].
const WAIT: Duration = Duration::from_secs(3);

/// Name and number of what a [`Session`] keeps prepared.
type Statements = HashMap<&'static str, Statement>;

/// A connection and its place among them.
type Lent = (Client, OwnedSemaphorePermit);

/// A bounded pool of connections to PostgreSQL.
pub(super) struct PostgresPool {
    address: PostgresUrl,
    tasks: Tasks,
    idle: Mutex<Vec<(Client, Statements)>>,
    room: Arc<Semaphore>,
    queue: Semaphore,
    /// What is known of the server since the first connection.
    server: Arc<OnceCell<schema::ServerInfo>>,
}

impl PostgresPool {
    pub(crate) fn new(address: PostgresUrl, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self {
            address,
            tasks,
            idle: Mutex::default(),
            room: Arc::new(Semaphore::new(CONNECTIONS)),
            queue: Semaphore::new(WAITING),
            server: Arc::default(),
        })
    }

    /// A connection for one call. The first brings the schema to its newest version.
    ///
    /// Errors: [`StoreError::Busy`] if too many wait or for too long, [`StoreError::Away`] if the server cannot be
    /// reached, [`StoreError::Denied`] if it does not let us in.
    pub(crate) async fn session(&self) -> Result<Session<'_>, StoreError> {
        let waiting = self.queue.try_acquire().map_err(|_| StoreError::Busy)?;
        let room = timeout(WAIT, self.room.clone().acquire_owned()).await.map_err(|_| StoreError::Busy)?;
        let room = room.map_err(|_| StoreError::Closed)?;
        drop(waiting);
        let known = self.idle.lock().pop().filter(|(client, _)| !client.is_closed());
        let (client, statements) = match known {
            Some(known) => known,
            None => (self.connect().await?, Statements::new()),
        };
        let (client, room) = match self.server.get() {
            Some(_) => (client, room),
            None => self.prepared(client, room).await?,
        };
        Ok(Session { client, statements, pool: self, _room: room })
    }

    /// Makes the schema ready, once for all who wait. It is done to its end, also if the caller has less time than it
    /// takes: else a slow server would never get there.
    async fn prepared(&self, client: Client, room: OwnedSemaphorePermit) -> Result<Lent, StoreError> {
        let (server, (sender, done)) = (self.server.clone(), oneshot::channel());
        self.tasks.spawn(async move {
            let prepared = server.get_or_try_init(|| schema::prepare(&client)).await.map(drop);
            // Whoever has left does not need the connection.
            drop(sender.send(prepared.map(|()| (client, room))));
        });
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// What is known of the server; `None` before the first connection.
    pub(crate) fn server(&self) -> Option<&schema::ServerInfo> {
        self.server.get()
    }

    /// `call`, and once more if the connection turned out to be a dead one before anything was done; `late` if it
    /// is not done within `limit`.
    pub(crate) async fn again<T, F>(
        &self,
        limit: Duration,
        late: StoreError,
        call: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let twice = async {
            match call().await {
                // After a restart of the server all idle connections are dead, whether they know it yet or not.
                Err(StoreError::Away(_)) if !self.room.is_closed() => {
                    self.idle.lock().clear();
                    call().await
                }
                done => done,
            }
        };
        timeout(limit, twice).await.unwrap_or(Err(late))
    }

    /// Lends no more, and returns when all are back and closed.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        if let Ok(all) = self.room.acquire_many(all).await {
            all.forget();
        }
        self.room.close();
        self.idle.lock().clear();
    }

    async fn connect(&self) -> Result<Client, StoreError> {
        let connecting = self.address.config.connect(self.address.tls.clone());
        let away = |_| StoreError::Away("it did not answer in time".to_owned());
        // The driver's own limit is for each address of a name; this is for all.
        let (client, connection) =
            timeout(WAIT, connecting).await.map_err(away)?.map_err(|error| errors::store_error(&error))?;
        self.tasks.spawn(async move {
            // It ends when the client is dropped, or with an error that the calls on it report as theirs.
            drop(connection.await);
        });
        Ok(client)
    }
}

/// A connection that is lent.
pub(super) struct Session<'p> {
    pub client: Client,
    statements: Statements,
    pool: &'p PostgresPool,
    _room: OwnedSemaphorePermit,
}

impl Session<'_> {
    /// `sql`, prepared once per connection.
    pub(crate) async fn statement(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await.map_err(|error| errors::store_error(&error))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Gives it back: nothing is open on it.
    pub(crate) fn release(self) {
        if !self.client.is_closed() {
            self.pool.idle.lock().push((self.client, self.statements));
        }
    }
}
