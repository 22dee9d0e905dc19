//! The gRPC services: decode, call, encode.

mod accounts;
mod keys;
mod sessions;

pub use accounts::Accounts;
pub use keys::Keys;
pub use sessions::Sessions;
