//! Access tokens: JWTs (RFC 7519) signed with Ed25519 (`EdDSA`, RFC 8037), and nothing else.
//!
//! One service signs ([`Signer`]); every service verifies by itself ([`Verifier`]) with the public keys it
//! fetches from the signer by key id, so that keys rotate without restarts: publish the new key, then sign
//! with it, and drop the old one when its last token has expired. The header of a token holds `alg`, `kid`
//! and optionally `typ`, and anything more is refused; `iss`, `aud` and `exp` are demanded; time comes from
//! the caller's [`Clock`](crate::clock::Clock).

mod crypto;
mod signer;
mod verifier;

use serde::{Deserialize, Serialize};
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::status::Failure;

pub use signer::{Signer, SigningError};
pub use verifier::{KeySource, Verifier, key_source};

/// Seconds by which the clocks of signer and verifier may differ.
pub const LEEWAY_SECONDS: i64 = 5;

/// Longer tokens are refused unread. Ours have about 400 bytes.
pub const MAX_TOKEN_LEN: usize = 4096;

/// The kind that stands in tokens which no session stands behind: a program that may act for accounts has asked for them.
pub const DELEGATED: &str = "delegated";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The account.
    pub sub: Uuid,
    /// The session of that account.
    pub sid: Uuid,
    /// The kind of the session, as the signer names it.
    pub kind: String,
    /// The role of the account, as the signer names it.
    pub role: String,
    /// When it was signed, in Unix seconds.
    pub iat: i64,
    /// When it ends, in Unix seconds.
    pub exp: i64,
}

/// Who makes a call, as proved by an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account_id: Uuid,
    /// The session through which the account acts.
    pub session_id: Uuid,
    /// The kind of that session.
    pub kind: String,
    /// The role of the account.
    pub role: String,
}

/// The public half of a signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    /// The `kid` in the header of tokens signed with it.
    pub kid: String,
    /// The Ed25519 public key (RFC 8032).
    pub public: [u8; 32],
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The call carries none.
    #[error("the call needs an access token")]
    Missing,
    /// It is malformed, not signed by a known key, or for somebody else.
    #[error("the access token is not valid")]
    Invalid,
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
    /// The keys to check it with cannot be had now; nothing is known about the token.
    #[error("access tokens cannot be checked at the moment")]
    Unavailable,
}

impl TokenError {
    /// The reason that goes into the status.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "TOKEN_MISSING",
            Self::Invalid => "TOKEN_INVALID",
            Self::Expired => "TOKEN_EXPIRED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl From<TokenError> for Status {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Unavailable => Code::Unavailable,
            _ => Code::Unauthenticated,
        };
        Failure::new(code, error.reason(), error.to_string()).status()
    }
}

/// Puts an access token on a call.
pub fn bearer<T>(request: &mut tonic::Request<T>, token: &str) -> Result<(), TokenError> {
    let mut value: AsciiMetadataValue = format!("Bearer {token}").parse().map_err(|_| TokenError::Invalid)?;
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    Ok(())
}

/// The proved caller of a call. UNAUTHENTICATED (`TOKEN_MISSING`) on methods that are public.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<&Caller, Status> {
    let caller = request.extensions().get::<std::sync::Arc<Caller>>();
    caller.map(AsRef::as_ref).ok_or_else(|| TokenError::Missing.into())
}

#[cfg(test)]
mod tests;
