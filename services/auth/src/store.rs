//! Accounts, sessions and registrations as rows, on SQLite and PostgreSQL. One method is one transaction; the time comes
//! from the caller.

mod accounts;
#[cfg(test)]
mod conformance;
mod sessions;

use holdall_sql::{Database, Durability, Migration, Migrations, Row, Settings, Transient, sql};
use uuid::Uuid;

use crate::domain::{Account, AccountId, Email, Error, Role, Username};
use crate::password::{Credential, Expected};

pub use accounts::{CredentialChange, EmailChanged, NewAccount, Registered, Repeatable};
pub use sessions::{FoundSession, NewSession, SessionAdded, SessionPosition};

/// The schema.
pub const MIGRATIONS: Migrations = Migrations {
    sqlite: &[Migration {
        version: 1,
        name: "accounts and sessions",
        sql: include_str!("../migrations/sqlite/0001_accounts_and_sessions.sql"),
    }],
    postgres: &[Migration {
        version: 1,
        name: "accounts and sessions",
        sql: include_str!("../migrations/postgres/0001_accounts_and_sessions.sql"),
    }],
};

/// Rows that one statement of [`Store::sweep`] deletes at most, so that it never holds others up for long.
const SWEPT_AT_ONCE: i64 = 500;

/// The rows.
#[derive(Clone)]
pub struct Store {
    db: Database,
}

/// An account with what only sign-in needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// The account.
    pub account: Account,
    /// What its password is compared with; [none](Credential::none) for a system account.
    pub credential: Credential,
    /// The crypt string that it was given, if its credential was imported. The same as `credential` until somebody signs
    /// in with it.
    pub imported: Option<Credential>,
    /// Whether it may sign in.
    pub active: bool,
}

impl StoredAccount {
    /// What its password is compared with.
    pub fn expected(&self) -> Expected {
        if self.account.role == Role::System {
            Expected::Nothing
        } else if self.imported.as_ref() == Some(&self.credential) {
            Expected::Imported(self.credential.clone())
        } else {
            Expected::Own(self.credential.clone())
        }
    }
}

impl Store {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn open(settings: &Settings) -> Result<Self, holdall_sql::Error> {
        Ok(Self { db: Database::open(settings, &MIGRATIONS, Durability::Full).await? })
    }

    /// Brings the schema of a database up to date.
    ///
    /// # Errors
    /// As [`Database::migrate`].
    pub async fn migrate(settings: &Settings) -> Result<(), holdall_sql::Error> {
        Database::migrate(settings, &MIGRATIONS, Durability::Full).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.db.ping().await?)
    }

    /// Waits for what is running and closes the connections.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Runs a statement of a test.
    #[cfg(test)]
    pub(crate) async fn execute(&self, statement: &'static str) {
        sql(statement).execute(&self.db).await.unwrap();
    }

    /// The key of that name: `candidate` for whoever asks first, and the same for everybody after.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn shared_key(&self, name: &'static str, candidate: [u8; 32]) -> Result<[u8; 32], Error> {
        sql("INSERT INTO shared_keys (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(candidate)
            .execute(&self.db)
            .await?;
        let row = sql("SELECT value FROM shared_keys WHERE name = $1").bind(name).fetch_one(&self.db).await?;
        fixed(row.get(0)?)
    }

    /// Deletes sessions that ended before `sessions_before` and registrations made before `registrations_before`, some of
    /// them at a time, and returns how many rows went.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn sweep(&self, sessions_before: i64, registrations_before: i64) -> Result<u64, Error> {
        let mut total = 0;
        for (statement, before) in [
            (
                "DELETE FROM sessions WHERE id IN \
                 (SELECT id FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
                sessions_before,
            ),
            (
                "DELETE FROM registrations WHERE idempotency_key IN \
                 (SELECT idempotency_key FROM registrations WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
                registrations_before,
            ),
        ] {
            loop {
                let swept = sql(statement).bind(before).bind(SWEPT_AT_ONCE).execute(&self.db).await?;
                total += swept;
                if i64::try_from(swept).unwrap_or(i64::MAX) < SWEPT_AT_ONCE {
                    break;
                }
            }
        }
        Ok(total)
    }
}

/// The columns of an account in the order that [`stored_account`] reads them.
macro_rules! account_columns {
    () => {
        "a.id, a.number, a.username, a.email, a.role, a.external_reference, a.created_at, a.credential, a.imported, \
         a.state"
    };
}
use account_columns;

/// How many columns that are.
const ACCOUNT_COLUMNS: usize = 10;

fn stored_account(row: &Row) -> Result<StoredAccount, Error> {
    Ok(StoredAccount {
        account: Account {
            id: AccountId(uuid(&row.get::<String>(0)?)?),
            number: number(row.get(1)?)?,
            username: Username::from_store(row.get(2)?),
            email: row.get::<Option<String>>(3)?.map(Email::from_store),
            role: row.get::<String>(4)?.parse().map_err(|()| corrupt())?,
            external_reference: row.get(5)?,
            created_at: row.get(6)?,
        },
        credential: Credential(row.get(7)?),
        imported: row.get::<Option<String>>(8)?.map(Credential),
        active: row.get::<String>(9)? == "active",
    })
}

fn corrupt() -> Error {
    Error::internal("the database holds something unexpected")
}

fn uuid(text: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|_| corrupt())
}

fn number(stored: i64) -> Result<u64, Error> {
    u64::try_from(stored).map_err(|_| corrupt())
}

fn fixed(bytes: Vec<u8>) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| corrupt())
}

impl From<holdall_sql::Error> for Error {
    fn from(error: holdall_sql::Error) -> Self {
        match error {
            holdall_sql::Error::Busy(_) => Self::Unavailable(error.into()),
            holdall_sql::Error::Full(_) => Self::StorageFull(error.into()),
            holdall_sql::Error::Unknown(_) => Self::OutcomeUnknown(error.into()),
            _ => Self::Internal(error.into()),
        }
    }
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        let is_transient = |cause: &holdall_sql::Error| cause.is_transient();
        matches!(self, Self::Unavailable(cause) if cause.downcast_ref().is_none_or(is_transient))
    }
}
