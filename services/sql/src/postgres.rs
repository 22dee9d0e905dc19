//! PostgreSQL.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use tokio::sync::Notify;

use crate::database::Durability;
use crate::error::Error;
use crate::migrate::{self, Migration};
use crate::pool::{Limits, Pool};
use crate::presence::Presence;
use crate::settings::Settings;
use crate::statistics::Statistics;

const LIMITS: Limits = Limits {
    // Less than anyone waits for an answer.
    wait: Duration::from_millis(2500),
    // The server may have gone meanwhile.
    trusted: Duration::from_secs(1),
    // The server's name may mean another machine by now, and its process for us has grown.
    lifetime: Duration::from_secs(30 * 60),
};

const STATEMENTS: usize = 256;

/// Between attempts to reach a server that is waited for.
const PAUSE: Duration = Duration::from_secs(1);

/// The connections to one database.
#[derive(Clone)]
pub(crate) struct Postgres {
    pub(crate) pool: Pool<PgConnection>,
    pub(crate) presence: Presence,
    _statistics: Arc<Statistics>,
}

pub(crate) async fn open(
    settings: &Settings,
    migrations: &[Migration],
    durability: Durability,
) -> Result<Postgres, Error> {
    let options = options(settings)?;
    // Migrations may take their time, and wait for another process that migrates.
    let patient = options.clone().options([("statement_timeout", "0"), ("lock_timeout", "60s")]);
    let mut connection = connect(&patient, Duration::from_secs(settings.wait_seconds.into())).await?;
    check(&mut connection, durability).await?;
    if settings.migrate {
        migrate::run(&mut connection, migrations).await?;
        if !settings.runtime_role.is_empty() {
            grant(&mut connection, &settings.runtime_role).await?;
        }
    } else {
        migrate::check(&mut connection, migrations).await?;
    }
    connection.close().await.map_err(Error::statement)?;

    let options = options.options([
        ("statement_timeout", "5s"),
        ("lock_timeout", "4s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ]);
    let options = match durability {
        Durability::Full => options,
        Durability::Rebuildable => options.options([("synchronous_commit", "off")]),
    };
    let presence = Presence::new(options.clone());
    let used = Arc::new(Notify::new());
    let pool = Pool::telling(options, settings.max_connections, LIMITS, Arc::clone(&used));
    let statistics = Arc::new(Statistics::keep(pool.clone(), used));
    Ok(Postgres { pool, presence, _statistics: statistics })
}

fn options(settings: &Settings) -> Result<PgConnectOptions, Error> {
    // The parser's error may quote the URL, and with it the password.
    let options = PgConnectOptions::from_str(&settings.url)
        .map_err(|_| Error::Settings("a database URL starts with sqlite:// or postgres://".into()))?
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("holdall"),
    })
}

/// What can be seen of a server.
pub(crate) struct Seen {
    /// Its version.
    pub(crate) version: String,
    /// Its clock, in Unix microseconds.
    pub(crate) clock: i64,
    /// Whether the role may make tables.
    pub(crate) may_change_schema: bool,
    /// Tables whose rows the role may not read or write.
    pub(crate) forbidden_tables: i64,
    /// Whether the schema is the one that this program knows.
    pub(crate) schema: Result<(), Error>,
}

/// Looks at a server without waiting for it, and changes nothing.
pub(crate) async fn inspect(
    settings: &Settings,
    migrations: &[Migration],
    durability: Durability,
) -> Result<Seen, Error> {
    let mut connection = connect(&options(settings)?, Duration::ZERO).await?;
    check(&mut connection, durability).await?;
    let row = sqlx::query(
        "SELECT current_setting('server_version'), \
         CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT), \
         has_schema_privilege(current_schema(), 'CREATE'), \
         (SELECT COUNT(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace \
          AND relname NOT LIKE '\\_sqlx%' AND NOT (has_table_privilege(oid, 'SELECT') \
          AND has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE') \
          AND has_table_privilege(oid, 'DELETE')))",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(Error::statement)?;
    let get = |error| Error::statement(error);
    let schema = migrate::check(&mut connection, migrations).await;
    let seen = Seen {
        version: row.try_get(0).map_err(get)?,
        clock: row.try_get(1).map_err(get)?,
        may_change_schema: row.try_get(2).map_err(get)?,
        forbidden_tables: row.try_get(3).map_err(get)?,
        schema,
    };
    connection.close().await.map_err(Error::statement)?;
    Ok(seen)
}

/// A connection, as soon as the server can be reached: it may be starting as well.
async fn connect(options: &PgConnectOptions, wait: Duration) -> Result<PgConnection, Error> {
    let asked = Instant::now();
    let over_tcp = options.get_socket().is_none() && !options.get_host().starts_with('/');
    loop {
        let connected = tokio::time::timeout(LIMITS.wait, options.connect())
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(|error| Error::connecting(error, over_tcp));
        match connected {
            Err(Error::Busy(error)) if asked.elapsed() < wait => {
                let (host, port) = (options.get_host(), options.get_port());
                tracing::warn!(host, port, %error, "waiting for the database");
                tokio::time::sleep(PAUSE.min(wait.saturating_sub(asked.elapsed()))).await;
            }
            connected => return connected,
        }
    }
}

/// Gives a role the right to read and write rows of everything that is there, and no other.
async fn grant(connection: &mut PgConnection, role: &str) -> Result<(), Error> {
    // Names cannot be parameters.
    let row = sqlx::query("SELECT quote_ident(current_schema()), quote_ident($1)")
        .bind(role)
        .fetch_one(&mut *connection)
        .await
        .map_err(Error::statement)?;
    let name = |index| row.try_get::<String, usize>(index).map_err(Error::statement);
    let (schema, role) = (name(0)?, name(1)?);
    let statements = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(drop).map_err(Error::statement)
}

/// Refuses a server that can lose or garble what it acknowledged.
async fn check(connection: &mut PgConnection, durability: Durability) -> Result<(), Error> {
    const NAMES: [&str; 4] = ["fsync", "full_page_writes", "server_encoding", "synchronous_commit"];
    let row = sqlx::query(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('server_encoding'), current_setting('synchronous_commit')",
    )
    .fetch_one(connection)
    .await
    .map_err(Error::statement)?;
    for (index, name) in NAMES.into_iter().enumerate() {
        let found: String = row.try_get(index).map_err(Error::statement)?;
        if let Some(required) = objection(name, &found, durability) {
            return Err(Error::Unsafe { name, found, required });
        }
    }
    Ok(())
}

/// What `name` has to be, if `found` will not do.
fn objection(name: &str, found: &str, durability: Durability) -> Option<&'static str> {
    match (name, found) {
        ("server_encoding", "UTF8") => None,
        ("server_encoding", _) => Some("UTF8"),
        ("synchronous_commit", _) if durability == Durability::Rebuildable => None,
        (_, "off") => Some("on"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_can_lose_data_is_refused() {
        let full = |name, found| objection(name, found, Durability::Full);
        assert_eq!(full("fsync", "off"), Some("on"));
        assert_eq!(full("full_page_writes", "off"), Some("on"));
        assert_eq!(full("synchronous_commit", "off"), Some("on"));
        assert_eq!(full("server_encoding", "SQL_ASCII"), Some("UTF8"));
        for (name, found) in [
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("synchronous_commit", "on"),
            ("synchronous_commit", "local"),
            ("synchronous_commit", "remote_apply"),
            ("server_encoding", "UTF8"),
        ] {
            assert_eq!(full(name, found), None, "{name} = {found}");
        }
        let rebuildable = |name, found| objection(name, found, Durability::Rebuildable);
        assert_eq!(rebuildable("synchronous_commit", "off"), None);
        assert_eq!(rebuildable("fsync", "off"), Some("on"));
    }
}
