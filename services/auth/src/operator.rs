//! What an operator does with accounts: `role`, a command of whichever program holds this service.
//!
//! It changes the row itself, so that the first administrator needs no other. It may be run while the service runs: PostgreSQL
//! is made for that, and SQLite lets several processes write in turn. It does not bring the schema up to date, which could
//! not be done beside a service that runs.

use std::io::Write as _;
use std::path::Path;

use holdall_runtime::run::StartError;

use crate::config::Config;
use crate::database_error;
use crate::domain::{LoginKey, Role};
use crate::store::Store;

/// What `--help` says of the command.
pub const ABOUT: &str = "Make an account an administrator, or a member again, and exit";

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct RoleChange {
    /// The account's username, without regard to case.
    username: String,
    /// What it is to be.
    role: Choice,
}

/// Roles that an account can be given.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Choice {
    /// Uses its own space, and may administer the installation.
    Admin,
    /// Uses its own space.
    Member,
}

impl From<Choice> for Role {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Admin => Self::Admin,
            Choice::Member => Self::Member,
        }
    }
}

/// Gives an account a role, and says so. Sessions have it from their next exchange on; access tokens that were made before
/// keep the old one for as long as they live, five minutes by default.
///
/// `config` is that of the service; what it leaves to the data directory is there.
///
/// # Errors
/// [`StartError::Config`] for a database that cannot be used, [`StartError::Failed`] when there is no such account.
pub async fn change_role(config: Config, data_dir: &Path, change: RoleChange) -> Result<(), StartError> {
    let mut settings = config.within(data_dir).database;
    settings.migrate = false;
    if let Some(file) = settings.sqlite_path().filter(|file| !file.is_file()) {
        return Err(StartError::failed(format!("{} is not there", file.display())));
    }
    let store = Store::open(&settings).await.map_err(database_error)?;
    let role = Role::from(change.role);
    let changed = match LoginKey::of_login(&change.username) {
        Some(key) => store.change_role(&key, role).await.map_err(StartError::failed),
        None => Ok(None),
    };
    store.close().await;
    let account = changed?.ok_or_else(|| StartError::failed("there is no account with that username"))?;
    tracing::info!(account = %account.id, role = role.name(), "the role of an account was changed");
    // A closed standard output is no reason to fail: it is done.
    let _ = writeln!(std::io::stdout(), "{} is {} now", account.username.as_str(), role.name());
    Ok(())
}
