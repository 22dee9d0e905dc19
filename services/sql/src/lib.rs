//! SQLite and PostgreSQL behind one small interface, so that a store is written once as plain code.
//!
//! A service opens its [`Database`] by URL, with its [`Migrations`] for both engines, and then speaks SQL:
//!
//! ```no_run
//! # use holdall_sql::{Database, Error, sql};
//! # async fn rename(db: &Database, id: &str, name: &str) -> Result<bool, Error> {
//! let mut tx = db.begin().await?;
//! let row = sql("SELECT version FROM node WHERE id = $1").bind(id).fetch_optional(&mut tx).await?;
//! let Some(row) = row else { return Ok(false) };
//! let version: i64 = row.get(0)?;
//! sql("UPDATE node SET name = $2, version = $3 WHERE id = $1")
//!     .bind(id)
//!     .bind(name)
//!     .bind(version + 1)
//!     .execute(&mut tx)
//!     .await?;
//! tx.commit().await?;
//! # Ok(true)
//! # }
//! ```
//!
//! # Rules for schemas and statements
//!
//! * Columns are `TEXT`, `BIGINT` or `BYTEA`/`BLOB`, `NULL` where said. A truth value is a `BIGINT` 0 or 1, a
//!   time a `BIGINT` of microseconds since 1970. Names that must sort alike are `COLLATE "C"` on PostgreSQL.
//! * On SQLite make tables `STRICT`, or a column holds whatever it is given; `BIGINT` is then spelt
//!   `INTEGER`.
//! * Parameters are `$1`, `$2`, …, and one may stand in several places.
//! * PostgreSQL types literals and aggregates by its own rules: `SUM(bigint)` is `NUMERIC`, `1` is `INTEGER`.
//!   Write `CAST(… AS BIGINT)` around them; SQLite does not mind.
//! * PostgreSQL fixes the types of a statement's parameters when it first sees its text on a connection, so
//!   one text is always bound with the same kinds of values (`NULL` included: bind `None::<i64>`, not
//!   `None::<&str>`, for a number).
//! * PostgreSQL gives up a transaction whose statement failed, SQLite does not; here both do: see
//!   [`Transaction`]. Where a conflict is expected, say `ON CONFLICT`.
//! * What must differ between the engines asks [`Database::dialect`].

mod checkpoint;
mod copy;
mod database;
mod error;
mod insert;
mod inspect;
mod migrate;
pub mod pages;
mod pool;
mod postgres;
mod presence;
mod retry;
mod row;
mod settings;
mod several;
mod sqlite;
mod statement;
mod statistics;
pub mod testing;
mod transaction;
mod watch;

pub use database::{Database, Dialect, Durability};
pub use error::{Error, Source};
pub use insert::{MAX_PARAMETERS, insert, inserts, values};
pub use inspect::{Finding, inspect};
pub use migrate::{Migration, MigrationError, Migrations};
pub use retry::{Transient, retry};
pub use row::{Column, Row};
pub use settings::Settings;
pub use several::{execute_each, execute_together};
pub use statement::{On, Statement, Value, dynamic, sql};
pub use transaction::Transaction;
