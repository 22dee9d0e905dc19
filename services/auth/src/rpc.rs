//! The gRPC services: decode, call, encode.

mod accounts;
mod delegation;
mod keys;
mod sessions;

pub use accounts::Accounts;
pub use delegation::Delegation;
pub use keys::Keys;
pub use sessions::Sessions;
