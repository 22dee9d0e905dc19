//! The rules: what accounts, sessions, names and passwords are. Nothing here knows the wire or the database.

mod account;
mod error;
mod login;
mod password;
mod session;

pub use account::{Account, AccountId, Role, external_reference};
pub use error::{Error, Rule};
pub use login::{Email, LoginKey, Username};
pub use password::Password;
pub use session::{
    AccessToken, Handle, HandleForm, HandleHash, Kind, Lifetime, Lifetimes, Session, SessionId, after,
    device_name,
};
