//! Accounts.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::login::{Email, Username};

/// Names an account for ever; a UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountId(pub Uuid);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an account may do on the installation as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Uses its own space.
    Member,
    /// Also runs the installation.
    Admin,
}

impl Role {
    /// The role's name, as it is stored and as it stands in access tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Member, Self::Admin].into_iter().find(|role| role.name() == name).ok_or(())
    }
}

/// A person or program that can sign in. Holds no secret: the credential stays in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Never reused.
    pub id: AccountId,
    /// Unique by its key.
    pub username: Username,
    /// Unique by its key.
    pub email: Option<Email>,
    /// What the account may do.
    pub role: Role,
    /// When it was registered, in Unix microseconds.
    pub created_at: i64,
}
