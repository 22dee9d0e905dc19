//! What can be said of a database before it is used: for operators.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::database::{Database, Durability};
use crate::error::Error;
use crate::migrate::{MigrationError, Migrations};
use crate::postgres;
use crate::settings::Settings;
use crate::statement::sql;

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the service can work with it so.
    pub is_fine: bool,
    /// What was found, without secrets.
    pub text: String,
    /// What to do; empty where nothing is to be done.
    pub advice: &'static str,
}

/// How far clocks may be apart, in microseconds: proofs that services hand each other live for a minute.
const SKEW: i64 = 10_000_000;

fn fine(text: String) -> Finding {
    Finding { is_fine: true, text, advice: "" }
}

fn wrong(text: String, advice: &'static str) -> Finding {
    Finding { is_fine: false, text, advice }
}

/// Looks at the database of these settings, and changes nothing. What cannot be reached is not waited for.
pub async fn inspect(settings: &Settings, migrations: &Migrations, durability: Durability) -> Vec<Finding> {
    let found = match settings.sqlite_path() {
        Some(path) => file(path, settings, migrations).await,
        None => server(settings, migrations, durability).await,
    };
    found.unwrap_or_else(|error| vec![of_error(settings, &error)])
}

async fn file(path: &Path, settings: &Settings, migrations: &Migrations) -> Result<Vec<Finding>, Error> {
    let shown = path.display();
    if !path.exists() {
        return Ok(vec![fine(format!("{shown} is not there yet, and is made at the start"))]);
    }
    let database = match Database::open_read_only(path, migrations).await {
        Err(Error::Migration(error)) => return Ok(vec![of_migration(settings, &error)]),
        opened => opened?,
    };
    let version = sql("SELECT sqlite_version()").fetch_one(&database).await?.get::<String>(0)?;
    database.close().await;
    Ok(vec![fine(format!("{shown} is up to date (SQLite {version})"))])
}

async fn server(
    settings: &Settings,
    migrations: &Migrations,
    durability: Durability,
) -> Result<Vec<Finding>, Error> {
    let seen = postgres::inspect(settings, migrations.postgres, durability).await?;
    let mut found = vec![fine(format!("answers (PostgreSQL {})", seen.version))];
    found.push(match seen.schema {
        Ok(()) => fine("the schema is up to date".to_owned()),
        Err(Error::Migration(error)) => of_migration(settings, &error),
        Err(error) => return Err(error),
    });
    if settings.migrate && !seen.may_change_schema {
        let advice = "GRANT CREATE ON SCHEMA to it, or set migrate = false and migrate with another role";
        found.push(wrong("the role may not change the schema".to_owned(), advice));
    }
    if seen.forbidden_tables > 0 {
        let text = format!("the role may not read and write rows of {} tables", seen.forbidden_tables);
        found.push(wrong(text, "migrate with runtime_role set to this role"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let ahead = seen.clock - i64::try_from(now).unwrap_or(i64::MAX);
    let seconds = ahead.abs() / 1_000_000;
    found.push(if ahead.abs() > SKEW {
        let text = format!("its clock and the one here are {seconds} seconds apart");
        wrong(text, "set both by NTP")
    } else {
        fine(format!("its clock and the one here are {seconds} seconds apart"))
    });
    Ok(found)
}

fn of_migration(settings: &Settings, error: &MigrationError) -> Finding {
    match error {
        MigrationError::Older { found, known } if settings.migrate => {
            fine(format!("has schema version {found}, which the start brings up to {known}"))
        }
        MigrationError::Older { .. } => wrong(error.to_string(), "run the service's `migrate` first"),
        _ => wrong(error.to_string(), "use the release that this database belongs to"),
    }
}

fn of_error(settings: &Settings, error: &Error) -> Finding {
    let place = settings.place();
    let (text, advice) = match error {
        Error::Busy(_) => {
            (format!("{place} cannot be reached"), "start the server, and check address and network")
        }
        Error::TooOld { .. } => (error.to_string(), "use a newer one"),
        Error::Unsafe { .. } => (error.to_string(), "change that setting of the server"),
        Error::Untrusted(_) => (
            format!("{place}: {error}"),
            "correct `sslmode`, `sslrootcert` or the host of the URL, or the server's certificate",
        ),
        Error::Settings(_) => (error.to_string(), "correct the URL"),
        // A refused password, a database that is not there: the server says which.
        Error::Other(source) => (format!("{place}: {source}"), "correct the URL, or the rights of its role"),
        Error::Corrupt(source) => (format!("{place}: {source}"), "restore a backup"),
        error => (format!("{place}: {error}"), "look into the log"),
    };
    wrong(text, advice)
}
