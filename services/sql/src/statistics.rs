//! Statistics for PostgreSQL's planner, while tables are young.
//!
//! A connection keeps the plan of a statement until there are other statistics of its tables. A plan that was made when a table
//! was small, or when nothing was known of it, reads all of it, and does so for each upload when it is large. PostgreSQL itself
//! takes statistics once a minute at most; in that time a young table grows a hundredfold. So we take them whenever a table has
//! doubled, which the larger it is happens the more seldom.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::pool::Pool;

/// Between two looks at a database that is used.
const PAUSE: Duration = Duration::from_secs(2);

/// The tables that have doubled. Only their owner may take statistics; for others PostgreSQL goes on to do so.
const GROWN: &str = "SELECT quote_ident(relname) FROM pg_class \
     WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND pg_has_role(relowner, 'USAGE') \
     AND pg_relation_size(oid) / CAST(current_setting('block_size') AS BIGINT) > 8 + 2 * relpages";

/// Takes statistics until it is dropped.
pub(crate) struct Statistics(AbortHandle);

impl Statistics {
    /// Of the tables that connections of `pool` use, which tells `used` of each that comes back.
    pub(crate) fn keep(pool: Pool<PgConnection>, used: Arc<Notify>) -> Self {
        let keeping = tokio::spawn(async move {
            loop {
                used.notified().await;
                tokio::time::sleep(PAUSE).await;
                if let Err(error) = take(&pool).await {
                    tracing::debug!(%error, "cannot take statistics of the database");
                }
                // That was our own use.
                let _ = used.notified().now_or_never();
            }
        });
        Self(keeping.abort_handle())
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn take(pool: &Pool<PgConnection>) -> Result<(), sqlx::Error> {
    let mut lease = pool.acquire().await?;
    let connection = lease.statement()?;
    for row in sqlx::query(GROWN).fetch_all(&mut *connection).await? {
        let table: String = row.try_get(0)?;
        sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {table}"))).execute(&mut *connection).await?;
        tracing::debug!(table, "took statistics");
    }
    lease.done();
    Ok(())
}
