//! Transactions.

use std::fmt;

use sqlx::{Executor, PgConnection, SqliteConnection};

use crate::database::Dialect;
use crate::error::Error;
use crate::pool::{Lease, Pool};
use crate::postgres::Postgres;
use crate::presence::Presence;
use crate::watch::Watch;

/// A transaction. Dropping it rolls it back.
///
/// Once a statement of it has failed, or was given up halfway, every later statement and the commit are
/// refused with [`Error::Aborted`], on both engines: PostgreSQL cannot go on from there, and would answer
/// `COMMIT` with a silent rollback.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction {
    lease: Inner,
    failed: bool,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("dialect", &self.dialect()).finish_non_exhaustive()
    }
}

enum Inner {
    Sqlite(Lease<SqliteConnection>),
    Postgres(Lease<PgConnection>, Presence),
}

/// The connection of a transaction.
pub(crate) enum Connection<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection, &'a Presence),
}

impl Transaction {
    pub(crate) async fn sqlite(pool: &Pool<SqliteConnection>, begin: &'static str) -> Result<Self, Error> {
        let mut lease = pool.acquire().await.map_err(Error::statement)?;
        lease.transaction().map_err(Error::statement)?.execute(begin).await.map_err(Error::statement)?;
        Ok(Self { lease: Inner::Sqlite(lease), failed: false })
    }

    pub(crate) async fn postgres(postgres: &Postgres, begin: &'static str) -> Result<Self, Error> {
        let Postgres { pool, presence, .. } = postgres;
        let mut lease = pool.acquire().await.map_err(Error::statement)?;
        let begun = lease.transaction().map_err(Error::statement)?.execute(begin);
        presence.over(begun).await.map_err(Error::statement)?;
        Ok(Self { lease: Inner::Postgres(lease, presence.clone()), failed: false })
    }

    /// Which engine it runs on.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.lease {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(..) => Dialect::Postgres,
        }
    }

    /// Makes it durable and visible.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it may or may not have happened; any other error means that it has not.
    pub async fn commit(self) -> Result<(), Error> {
        let watch = Watch::statement(self.dialect(), "COMMIT");
        watch.over(self.committed()).await
    }

    async fn committed(mut self) -> Result<(), Error> {
        match self.statement()? {
            Connection::Sqlite(connection) => connection.execute("COMMIT").await.map(drop),
            Connection::Postgres(connection, presence) => {
                presence.over(connection.execute("COMMIT")).await.map(drop)
            }
        }
        .map_err(Error::commit)?;
        match &mut self.lease {
            Inner::Sqlite(lease) => lease.done(),
            Inner::Postgres(lease, _) => lease.done(),
        }
        Ok(())
    }

    /// The connection for a statement. Until [`Transaction::note`] has seen it succeed, the transaction has
    /// failed.
    pub(crate) fn statement(&mut self) -> Result<Connection<'_>, Error> {
        if self.failed {
            return Err(Error::Aborted);
        }
        self.failed = true;
        match &mut self.lease {
            Inner::Sqlite(lease) => lease.statement().map(Connection::Sqlite),
            Inner::Postgres(lease, presence) => {
                lease.statement().map(|connection| Connection::Postgres(connection, presence))
            }
        }
        .map_err(Error::statement)
    }

    pub(crate) fn note<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, Error> {
        self.failed = result.is_err();
        result.map_err(Error::statement)
    }
}
