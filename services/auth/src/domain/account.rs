//! Accounts.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::error::{Error, Rule};
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
    /// Holds what belongs to nobody in particular. Nobody can sign in to it.
    System,
}

impl Role {
    /// The role's name, as it is stored and as it stands in access tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::System => "system",
        }
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Member, Self::Admin, Self::System].into_iter().find(|role| role.name() == name).ok_or(())
    }
}

/// A person or program that can sign in. Holds no secret: the credential stays in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Never reused.
    pub id: AccountId,
    /// Names the account too; from 1 upwards, never reused.
    pub number: u64,
    /// Unique by its key.
    pub username: Username,
    /// Unique by its key.
    pub email: Option<Email>,
    /// What the account may do.
    pub role: Role,
    /// What whoever registered the account keeps with it; empty for nothing.
    pub external_reference: String,
    /// When it was registered, in Unix microseconds.
    pub created_at: i64,
}

/// Checks what is to be kept with an account: at most 1,024 bytes without control characters.
///
/// # Errors
/// [`Error::InvalidField`] naming `external_reference`.
pub fn external_reference(given: &str) -> Result<&str, Error> {
    const BYTES: usize = 1024;
    let refuse = |rule| Err(Error::InvalidField { field: "external_reference", rule });
    if given.len() > BYTES {
        return refuse(Rule::LongerThanBytes(BYTES));
    }
    if given.chars().any(char::is_control) {
        return refuse(Rule::InvisibleCharacter);
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_found_by_their_names() {
        for role in [Role::Member, Role::Admin, Role::System] {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(()));
    }

    #[test]
    fn a_reference_is_short_and_plain() {
        assert!(external_reference("").is_ok());
        assert!(external_reference(&"ä".repeat(512)).is_ok());
        assert!(external_reference(&"ä".repeat(513)).is_err());
        assert!(external_reference("a\nb").is_err());
    }
}
