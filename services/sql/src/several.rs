//! Several statements in one go.

use futures::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Either, Executor};

use crate::database::{Database, Engine};
use crate::error::Error;
use crate::statement::{Statement, dynamic};
use crate::watch::Watch;

/// Runs statements one after the other, and returns of each how many rows it inserted, changed or deleted.
///
/// Each is a transaction of its own, so after an error some of them may have been done. On SQLite they go to the thread of the
/// connection and back once, not once for each.
///
/// # Errors
/// As [`Statement::execute`].
pub async fn execute_each(statements: Vec<Statement>, database: &Database) -> Result<Vec<u64>, Error> {
    if let Engine::Sqlite(sqlite) = &database.engine
        && let [_, _, ..] = &statements[..]
        && let Some(joined) = join(&statements)
    {
        let watch = Watch::statement(database.dialect(), joined.text());
        return watch
            .over(async {
                let mut lease = sqlite.durable.acquire().await.map_err(Error::statement)?;
                let connection = lease.statement().map_err(Error::statement)?;
                let changed = run(joined, connection).await.map_err(Error::commit)?;
                lease.done();
                Ok(changed)
            })
            .await;
    }
    let mut changed = Vec::with_capacity(statements.len());
    for statement in statements {
        changed.push(statement.execute(database).await?);
    }
    Ok(changed)
}

/// One text for all of them, if none of them has to number its values.
fn join(statements: &[Statement]) -> Option<Statement> {
    let texts = statements.iter().map(Statement::unnumbered).collect::<Option<Vec<_>>>()?;
    let values = statements.iter().flat_map(Statement::values).cloned();
    Some(dynamic(texts.join(";")).bind_all(values))
}

async fn run(joined: Statement, connection: &mut SqliteConnection) -> Result<Vec<u64>, sqlx::Error> {
    let mut changed = Vec::new();
    let mut results = connection.fetch_many(joined.sqlite_query());
    while let Some(result) = results.try_next().await? {
        if let Either::Left(done) = result {
            changed.push(done.rows_affected());
        }
    }
    Ok(changed)
}
