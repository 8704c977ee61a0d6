//! Transactions: each names its user to row-level security before it does anything else.
//!
//! The statements of one step are sent together and answered in order, so that a read costs one round trip.

use futures_util::future::{try_join, try_join3};
use tokio_postgres::{Row, Statement, types::ToSql};

use super::{errors, pool::Session};
use crate::{memory::store::StoreError, user::UserId};

/// What a statement is given.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Only until the end of the transaction: a connection must not remember whom it served.
const NAME: &str = "SELECT set_config('concierge.user', $1, true)";

impl Session<'_> {
    /// One query in a read transaction of `user`.
    pub(crate) async fn read(
        mut self,
        user: &UserId,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let statements = self.statements_to_begin(sql).await?;
        let first = self.send_begin("BEGIN READ ONLY", &statements, user, params);
        let done = try_join(first, self.client.batch_execute("COMMIT")).await;
        let (rows, ()) = done.map_err(|error| errors::store_error(&error))?;
        self.release();
        Ok(rows)
    }

    /// Begins a transaction of `user` with its first query. `how`: `BEGIN`, and what it is to be.
    pub(crate) async fn begin(
        &mut self,
        how: &str,
        user: &UserId,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let statements = self.statements_to_begin(sql).await?;
        self.send_begin(how, &statements, user, params).await.map_err(|error| errors::store_error(&error))
    }

    /// The statement that names the user, and `sql`.
    async fn statements_to_begin(&mut self, sql: &'static str) -> Result<[Statement; 2], StoreError> {
        Ok([self.statement(NAME).await?, self.statement(sql).await?])
    }

    async fn send_begin(
        &self,
        how: &str,
        [name, query]: &[Statement; 2],
        user: &UserId,
        params: Params<'_>,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let (client, user) = (&self.client, user.as_str());
        let naming: Params<'_> = &[&user];
        let sent =
            try_join3(client.batch_execute(how), client.execute(name, naming), client.query(query, params));
        sent.await.map(|(.., rows)| rows)
    }

    /// One query more.
    pub(crate) async fn query(
        &mut self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let query = self.statement(sql).await?;
        self.client.query(&query, params).await.map_err(|error| errors::store_error(&error))
    }

    /// Ends the transaction; it is durable when this has returned.
    ///
    /// Errors: [`StoreError::Unsure`] if the answer to the commit did not come.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self.client.batch_execute("COMMIT").await {
            Ok(()) => self.release(),
            Err(error) if error.as_db_error().is_some() => return Err(errors::store_error(&error)),
            Err(_) => return Err(StoreError::Unsure),
        }
        Ok(())
    }

    /// Takes everything back; a connection on which even that fails is closed.
    pub(crate) async fn rollback(self) {
        if self.client.batch_execute("ROLLBACK").await.is_ok() {
            self.release();
        }
    }
}
