//! A statement with its values, and what it can run on.

use std::fmt::Write as _;

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::database::{Database, Dialect, Engine};
use crate::error::Error;
use crate::row::{Inner, Row};
use crate::transaction::{Connection, Transaction};
use crate::watch::Watch;

/// So many values are bound faster without numbers, although the text has to be written for it.
const MANY: usize = 16;

/// A statement whose text is part of the program. Its values are bound as `$1`, `$2`, … in order.
///
/// It is prepared once per connection and kept.
pub fn sql(text: &'static str) -> Statement {
    Statement { text: text.into_sql_str(), values: Vec::new() }
}

/// A statement whose text was put together at run time.
///
/// The caller vouches that no piece of `text` came from outside: values are bound, never written into the
/// text. Each different text is prepared and kept apart, so let there be few.
pub fn dynamic(text: String) -> Statement {
    Statement { text: AssertSqlSafe(text).into_sql_str(), values: Vec::new() }
}

/// A value to bind, `NULL` being one of each kind.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// `TEXT`.
    Text(Option<String>),
    /// `BIGINT`; a `bool` is 0 or 1.
    Int(Option<i64>),
    /// `BYTEA` or `BLOB`.
    Bytes(Option<Vec<u8>>),
}

/// A statement and the values bound so far. Nothing happens until one of the `fetch_…` or `execute` is
/// awaited.
#[must_use = "a statement does nothing until it is run"]
pub struct Statement {
    text: SqlStr,
    values: Vec<Value>,
}

/// What a statement runs on: `&Database` (by itself) or `&mut Transaction`.
pub enum On<'a> {
    /// By itself: a `fetch_…` must not write, and [`Statement::execute`] commits at once.
    Database(&'a Database),
    /// As part of a transaction.
    Transaction(&'a mut Transaction),
}

impl On<'_> {
    fn dialect(&self) -> Dialect {
        match self {
            Self::Database(database) => database.dialect(),
            Self::Transaction(transaction) => transaction.dialect(),
        }
    }
}

impl<'a> From<&'a Database> for On<'a> {
    fn from(database: &'a Database) -> Self {
        Self::Database(database)
    }
}

impl<'a> From<&'a mut Transaction> for On<'a> {
    fn from(transaction: &'a mut Transaction) -> Self {
        Self::Transaction(transaction)
    }
}

impl Statement {
    /// Binds the next value.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Binds the next values, in order.
    pub fn bind_all<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// Runs it and returns how many rows it inserted, changed or deleted.
    ///
    /// On a `&Database` it is a transaction of its own, as durable as one from [`Database::begin`].
    ///
    /// # Errors
    /// As [`Error`] tells; on a `&Database` also [`Error::Unknown`].
    pub async fn execute<'a>(self, on: impl Into<On<'a>>) -> Result<u64, Error> {
        let on = on.into();
        let watch = Watch::statement(on.dialect(), self.text.as_str());
        watch.over(self.executed(on)).await
    }

    async fn executed(self, on: On<'_>) -> Result<u64, Error> {
        match on {
            On::Database(database) => match &database.engine {
                Engine::Sqlite(sqlite) => {
                    let mut lease = sqlite.durable.acquire().await.map_err(Error::statement)?;
                    let done = self.sqlite().execute(lease.statement().map_err(Error::statement)?).await;
                    let done = done.map_err(Error::commit)?;
                    lease.done();
                    Ok(done.rows_affected())
                }
                Engine::Postgres(postgres) => {
                    let mut lease = postgres.pool.acquire().await.map_err(Error::statement)?;
                    let done = self.postgres().execute(lease.statement().map_err(Error::statement)?);
                    let done = postgres.presence.over(done).await.map_err(Error::commit)?;
                    lease.done();
                    Ok(done.rows_affected())
                }
            },
            On::Transaction(transaction) => {
                let done = match transaction.statement()? {
                    Connection::Sqlite(connection) => {
                        self.sqlite().execute(connection).await.map(|done| done.rows_affected())
                    }
                    Connection::Postgres(connection, presence) => presence
                        .over(self.postgres().execute(connection))
                        .await
                        .map(|done| done.rows_affected()),
                };
                transaction.note(done)
            }
        }
    }

    /// All rows, in the statement's order. The caller bounds them by `LIMIT`.
    ///
    /// # Errors
    /// As [`Error`] tells.
    pub async fn fetch_all<'a>(self, on: impl Into<On<'a>>) -> Result<Vec<Row>, Error> {
        let on = on.into();
        let watch = Watch::statement(on.dialect(), self.text.as_str());
        watch.over(self.fetched(on)).await
    }

    async fn fetched(self, on: On<'_>) -> Result<Vec<Row>, Error> {
        match on {
            On::Database(database) => match &database.engine {
                Engine::Sqlite(sqlite) => {
                    let mut lease = sqlite.readers.acquire().await.map_err(Error::statement)?;
                    let rows = self.sqlite().fetch_all(lease.statement().map_err(Error::statement)?).await;
                    let rows = rows.map_err(Error::statement)?;
                    lease.done();
                    Ok(from_sqlite(rows))
                }
                Engine::Postgres(postgres) => {
                    let mut lease = postgres.pool.acquire().await.map_err(Error::statement)?;
                    let rows = self.postgres().fetch_all(lease.statement().map_err(Error::statement)?);
                    let rows = postgres.presence.over(rows).await.map_err(Error::statement)?;
                    lease.done();
                    Ok(from_postgres(rows))
                }
            },
            On::Transaction(transaction) => {
                let rows = match transaction.statement()? {
                    Connection::Sqlite(connection) => {
                        self.sqlite().fetch_all(connection).await.map(from_sqlite)
                    }
                    Connection::Postgres(connection, presence) => {
                        presence.over(self.postgres().fetch_all(connection)).await.map(from_postgres)
                    }
                };
                transaction.note(rows)
            }
        }
    }

    /// The only row, or `None`. Of several rows, the first.
    ///
    /// # Errors
    /// As [`Error`] tells.
    pub async fn fetch_optional<'a>(self, on: impl Into<On<'a>>) -> Result<Option<Row>, Error> {
        Ok(self.fetch_all(on).await?.into_iter().next())
    }

    /// The row of a statement that always has one, such as an aggregate.
    ///
    /// # Errors
    /// [`Error::NoRow`] when there is none; else as [`Error`] tells.
    pub async fn fetch_one<'a>(self, on: impl Into<On<'a>>) -> Result<Row, Error> {
        self.fetch_optional(on).await?.ok_or(Error::NoRow)
    }

    pub(crate) fn text(&self) -> &str {
        self.text.as_str()
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(crate) fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// The text with the numbers of its values raised by `before`; `None` where it has a `$` that is no such number.
    pub(crate) fn numbered_after(&self, before: usize) -> Option<String> {
        let mut pieces = self.text.as_str().split('$');
        let mut text = pieces.next().unwrap_or_default().to_owned();
        text.reserve(self.text.as_str().len() + self.values.len());
        for piece in pieces {
            let (number, rest) = numbered(piece);
            let number = number.parse::<usize>().ok()?;
            // Writing to a string does not fail.
            let _ = write!(text, "${}{rest}", number.saturating_add(before));
        }
        Some(text)
    }

    /// The text with `?` for `$1`, `$2`, …; `None` when that would mean other values, since they are not in this order.
    ///
    /// SQLite looks a number up among those of all parameters, for each of them again; what has no number it need not look up.
    pub(crate) fn unnumbered(&self) -> Option<String> {
        let mut pieces = self.text.as_str().split('$');
        let mut text = pieces.next().unwrap_or_default().to_owned();
        text.reserve(self.text.as_str().len());
        let mut count = 0;
        for piece in pieces {
            let (number, rest) = numbered(piece);
            count += 1;
            if number.parse() != Ok(count) {
                return None;
            }
            text.push('?');
            text.push_str(rest);
        }
        (count == self.values.len()).then_some(text)
    }

    pub(crate) fn sqlite(mut self) -> Query<'static, Sqlite, SqliteArguments> {
        if self.values.len() >= MANY
            && let Some(text) = self.unnumbered()
        {
            self.text = AssertSqlSafe(text).into_sql_str();
        }
        self.sqlite_query()
    }

    /// The same with its text as it is.
    pub(crate) fn sqlite_query(self) -> Query<'static, Sqlite, SqliteArguments> {
        self.values.into_iter().fold(sqlx::query(self.text), |query, value| match value {
            Value::Text(value) => query.bind(value),
            Value::Int(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }

    fn postgres(self) -> Query<'static, Postgres, PgArguments> {
        self.values.into_iter().fold(sqlx::query(self.text), |query, value| match value {
            Value::Text(value) => query.bind(value),
            Value::Int(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }
}

/// The digits that `piece` starts with, and what follows.
fn numbered(piece: &str) -> (&str, &str) {
    let end = piece.find(|next: char| !next.is_ascii_digit()).unwrap_or(piece.len());
    piece.split_at(end)
}

fn from_sqlite(rows: Vec<sqlx::sqlite::SqliteRow>) -> Vec<Row> {
    rows.into_iter().map(|row| Row(Inner::Sqlite(row))).collect()
}

fn from_postgres(rows: Vec<sqlx::postgres::PgRow>) -> Vec<Row> {
    rows.into_iter().map(|row| Row(Inner::Postgres(row))).collect()
}

macro_rules! value {
    ($($kind:ty => $variant:ident by $convert:expr;)*) => {$(
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                let convert: fn($kind) -> _ = $convert;
                Self::$variant(Some(convert(value)))
            }
        }

        impl From<Option<$kind>> for Value {
            fn from(value: Option<$kind>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )*};
}

value! {
    String => Text by |text| text;
    &String => Text by Clone::clone;
    &str => Text by str::to_owned;
    i64 => Int by |number| number;
    i32 => Int by i64::from;
    u32 => Int by i64::from;
    bool => Int by i64::from;
    Vec<u8> => Bytes by |bytes| bytes;
    &Vec<u8> => Bytes by Clone::clone;
    &[u8] => Bytes by <[u8]>::to_vec;
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl<const N: usize> From<Option<[u8; N]>> for Value {
    fn from(value: Option<[u8; N]>) -> Self {
        Self::Bytes(value.map(|bytes| bytes.to_vec()))
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}
