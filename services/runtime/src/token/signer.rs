//! The signing half.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::{Claims, VerifyingKey, crypto};

/// Signs access tokens with one Ed25519 key. Its `Debug` shows the key id alone.
pub struct Signer {
    header: Header,
    key: EncodingKey,
    verifying: VerifyingKey,
}

/// Why a key cannot be made, read or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The system gives no random bytes.
    #[error("no randomness for a signing key")]
    Randomness,
    /// The bytes are not an Ed25519 key pair in PKCS#8.
    #[error("not an Ed25519 key pair in PKCS#8")]
    Key,
    /// The claims cannot be signed.
    #[error("the token could not be signed")]
    Sign,
}

impl Signer {
    /// A new key pair as PKCS#8 v2 (RFC 5958), to be stored where only the signer reads it.
    pub fn generate() -> Result<Vec<u8>, SigningError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SigningError::Randomness)?;
        Ok(document.as_ref().to_vec())
    }

    /// The signer with this key pair (PKCS#8, v1 or v2), whose tokens carry `kid`.
    pub fn from_pkcs8(kid: impl Into<String>, pkcs8: &[u8]) -> Result<Self, SigningError> {
        crypto::install();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| SigningError::Key)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| SigningError::Key)?;
        let verifying = VerifyingKey { kid: kid.into(), public };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(verifying.kid.clone());
        Ok(Self { header, key: EncodingKey::from_ed_der(pkcs8), verifying })
    }

    /// What verifiers need.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The token, in compact form.
    pub fn sign(&self, claims: &Claims) -> Result<String, SigningError> {
        jsonwebtoken::encode(&self.header, claims, &self.key).map_err(|_| SigningError::Sign)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.verifying.kid).finish_non_exhaustive()
    }
}
