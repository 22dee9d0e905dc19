//! Several statements in one go.

use std::fmt::Write;

use futures::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Either, Executor};

use crate::database::{Database, Dialect, Engine};
use crate::error::Error;
use crate::statement::{Statement, dynamic};
use crate::transaction::Transaction;
use crate::watch::Watch;

/// Most values that statements have together to be joined: each different number of rows is a text of its own, which is
/// prepared and kept.
const MAX_TOGETHER: usize = 4096;

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
        && let Some(text) = in_a_row(&statements)
    {
        let joined = join(statements, text);
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

/// Runs statements of a transaction that insert, change or delete, with as few messages as there can be: each is a way to the
/// server, or to the thread of the connection, and back.
///
/// They are independent: none may read, change or delete what another one writes. A row may refer to one that an earlier
/// statement inserts.
///
/// # Errors
/// As [`Statement::execute`].
pub async fn execute_together(
    statements: Vec<Statement>,
    transaction: &mut Transaction,
) -> Result<(), Error> {
    let mut statements = statements.into_iter().peekable();
    while let Some(first) = statements.next() {
        let mut parameters = first.values().len();
        let mut some = vec![first];
        while let Some(next) = statements.next_if(|next| parameters + next.values().len() <= MAX_TOGETHER) {
            parameters += next.values().len();
            some.push(next);
        }
        run_together(some, transaction).await?;
    }
    Ok(())
}

/// Runs as many as one message can hold.
async fn run_together(statements: Vec<Statement>, transaction: &mut Transaction) -> Result<(), Error> {
    let text = match transaction.dialect() {
        _ if statements.len() < 2 => None,
        Dialect::Sqlite => in_a_row(&statements),
        Dialect::Postgres => nested(&statements),
    };
    let statements = match text {
        Some(text) => vec![join(statements, text)],
        None => statements,
    };
    for statement in statements {
        statement.execute(&mut *transaction).await?;
    }
    Ok(())
}

/// One text for all of them, if none of them has to number its values.
fn in_a_row(statements: &[Statement]) -> Option<String> {
    Some(statements.iter().map(Statement::unnumbered).collect::<Option<Vec<_>>>()?.join(";"))
}

/// The text of one statement that holds all of them: the last, with the others as its `WITH`.
fn nested(statements: &[Statement]) -> Option<String> {
    let (last, others) = statements.split_last()?;
    let mut text = String::new();
    let mut before = 0;
    for (index, statement) in others.iter().enumerate() {
        let separator = if index == 0 { "WITH" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator} s{index} AS ({})", statement.numbered_after(before)?);
        before += statement.values().len();
    }
    let _ = write!(text, " {}", last.numbered_after(before)?);
    Some(text)
}

fn join(statements: Vec<Statement>, text: String) -> Statement {
    dynamic(text).bind_all(statements.into_iter().flat_map(Statement::into_values))
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
