//! The verifying half: keys by id, fetched when needed, and a memory of tokens that were verified.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Caller, Claims, LEEWAY_SECONDS, MAX_TOKEN_LEN, TokenError, VerifyingKey, crypto};
use crate::BoxError;
use crate::clock::Clock;

/// Fetches every key that may have signed a token that is still valid.
pub type KeySource = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<VerifyingKey>, BoxError>> + Send + Sync>;

/// Makes a [`KeySource`] of an async closure. The closure limits its own time.
pub fn key_source<F, Fut>(fetch: F) -> KeySource
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<VerifyingKey>, BoxError>> + Send + 'static,
{
    Arc::new(move || fetch().boxed())
}

/// Keys are fetched at most once in this time, however many unknown key ids arrive.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Keys older than this are fetched again, so that a withdrawn one is noticed.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// Verified tokens remembered. A verification costs 40 µs, a look-up 1 µs.
const REMEMBERED: u64 = 16_384;

/// Verifies access tokens. Clones share keys and memory.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    validation: Validation,
    clock: Clock,
    source: KeySource,
    keys: RwLock<Arc<Keys>>,
    /// When the last fetch began and whether it succeeded. Held while fetching, so that one fetch serves all
    /// who wait.
    fetch: tokio::sync::Mutex<Option<(Instant, bool)>>,
    /// How many fetches have begun.
    fetches: AtomicU64,
    /// By SHA-256 of the token, so that the memory holds no token.
    verified: moka::sync::Cache<[u8; 32], Verified>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    fetched: Option<Instant>,
}

#[derive(Clone)]
struct Verified {
    caller: Arc<Caller>,
    exp: i64,
}

/// [`Claims`], and those that we never make but must honour.
#[derive(Deserialize)]
struct Received {
    #[serde(flatten)]
    claims: Claims,
    #[serde(default)]
    nbf: Option<i64>,
}

impl Verifier {
    /// Accepts tokens that `issuer` signed for `audience`. Keys are fetched at the first token.
    pub fn new(issuer: &str, audience: &str, source: KeySource, clock: Clock) -> Self {
        crypto::install();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // `exp` and `nbf` are compared with our own clock instead.
        validation.validate_exp = false;
        Self(Arc::new(Inner {
            validation,
            clock,
            source,
            keys: RwLock::default(),
            fetch: tokio::sync::Mutex::new(None),
            fetches: AtomicU64::new(0),
            verified: moka::sync::Cache::new(REMEMBERED),
        }))
    }

    /// Whom the token proves the bearer to be.
    pub async fn verify(&self, token: &str) -> Result<Arc<Caller>, TokenError> {
        let inner = &*self.0;
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Invalid);
        }
        let mut id = [0; 32];
        id.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(known) = inner.verified.get(&id) {
            if inner.expired(known.exp) {
                inner.verified.invalidate(&id);
                return Err(TokenError::Expired);
            }
            return Ok(known.caller);
        }
        let verified = inner.verify_anew(token).await?;
        inner.verified.insert(id, verified.clone());
        Ok(verified.caller)
    }
}

impl Inner {
    async fn verify_anew(&self, token: &str) -> Result<Verified, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let kid = key_id(header).ok_or(TokenError::Invalid)?;
        let key = self.key(&kid).await?;
        let received = jsonwebtoken::decode::<Received>(token, &key, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if received.nbf.is_some_and(|nbf| nbf > self.clock.now_seconds().saturating_add(LEEWAY_SECONDS)) {
            return Err(TokenError::Invalid);
        }
        let claims = received.claims;
        if self.expired(claims.exp) {
            return Err(TokenError::Expired);
        }
        let caller =
            Caller { account_id: claims.sub, session_id: claims.sid, kind: claims.kind, role: claims.role };
        Ok(Verified { caller: Arc::new(caller), exp: claims.exp })
    }

    fn expired(&self, exp: i64) -> bool {
        self.clock.now_seconds() >= exp.saturating_add(LEEWAY_SECONDS)
    }

    async fn key(&self, kid: &str) -> Result<DecodingKey, TokenError> {
        let seen = self.fetches.load(Ordering::SeqCst);
        let keys = self.keys();
        let fresh = keys.fetched.is_some_and(|fetched| fetched.elapsed() < MAX_AGE);
        match keys.by_id.get(kid) {
            Some(key) if fresh => Ok(key.clone()),
            Some(key) => {
                // The signer may be away; a known key goes on working.
                self.refresh(seen, false).await;
                Ok(self.keys().by_id.get(kid).unwrap_or(key).clone())
            }
            None if self.refresh(seen, true).await => {
                self.keys().by_id.get(kid).cloned().ok_or(TokenError::Invalid)
            }
            None => Err(TokenError::Unavailable),
        }
    }

    /// Fetches the keys unless more than the `seen` fetches have begun; true if the last fetch succeeded.
    /// Within [`REFRESH_INTERVAL`] of the fetch before, waits when `patient`, else does nothing.
    async fn refresh(&self, seen: u64, patient: bool) -> bool {
        let mut fetch = self.fetch.lock().await;
        if let Some((began, succeeded)) = *fetch {
            let next = began + REFRESH_INTERVAL;
            if self.fetches.load(Ordering::SeqCst) > seen || (!patient && Instant::now() < next) {
                return succeeded;
            }
            tokio::time::sleep_until(next).await;
        }
        let began = Instant::now();
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let succeeded = match (self.source)().await {
            Ok(keys) => {
                self.replace(&keys);
                true
            }
            Err(error) => {
                tracing::warn!(error, "the keys of access tokens cannot be fetched");
                false
            }
        };
        *fetch = Some((began, succeeded));
        succeeded
    }

    fn replace(&self, keys: &[VerifyingKey]) {
        let by_id: HashMap<_, _> =
            keys.iter().map(|key| (key.kid.clone(), DecodingKey::from_ed_der(&key.public))).collect();
        let withdrawn = self.keys().by_id.keys().any(|kid| !by_id.contains_key(kid));
        let keys = Arc::new(Keys { by_id, fetched: Some(Instant::now()) });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        if withdrawn {
            self.verified.invalidate_all();
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The key id in a header that holds nothing that could change what is verified (`crit`, `jwk`, `jku`, …).
fn key_id(mut header: Header) -> Option<String> {
    let kid = header.kid.take()?;
    let mut plain = Header::new(Algorithm::EdDSA);
    plain.typ = header.typ.clone().filter(|typ| typ.eq_ignore_ascii_case("JWT"));
    (header == plain).then_some(kid)
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}
