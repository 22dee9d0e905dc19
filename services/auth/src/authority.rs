//! What registers accounts, opens sessions and signs tokens: the rules, the rows, the hashes and the keys put together.

mod accounts;
mod delegation;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdall_runtime::clock::Clock;
use holdall_runtime::token::Claims;
use holdall_sql::pages::Pager;
use moka::sync::Cache;
use uuid::{NoContext, Timestamp, Uuid};

use crate::delegation::Delegations;
use crate::domain::{
    AccessToken, AccountId, Error, HandleHash, Lifetimes, LoginKey, Password, Role, SessionId,
};
use crate::keys::{AUDIENCE, ISSUER, Keyring};
use crate::limits::{Limits, Source};
use crate::password::{Credential, Expected, Hasher, Verdict};
use crate::store::{Store, StoredAccount};

pub use accounts::{Form, Registration};
pub use delegation::{ActFor, Acting};
pub use sessions::{Exchanged, SignIn, SignedIn};

/// Sessions whose exchange is remembered, and for how long after its last use.
const REMEMBERED: u64 = 65_536;
const REMEMBERED_IDLE: Duration = Duration::from_secs(10 * 60);

/// What is remembered is served for this long before it is looked at again, so that the end of a session or account is
/// noticed by every replica within this time.
const FRESH: i64 = 5_000_000;

/// A token is handed out again while it lives longer than this.
const REUSED_ABOVE: i64 = 60_000_000;

/// Ended sessions can be ended again, without an error, for this long.
const ENDED_SESSIONS: i64 = 30 * 86_400_000_000;

/// How long an idempotency key is kept.
const KEYS_KEPT: i64 = 86_400_000_000;

/// What an operator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether accounts can be registered.
    pub registration_open: bool,
    /// The fewest characters of a new password.
    pub shortest_password: usize,
    /// How long sessions live.
    pub lifetimes: Lifetimes,
    /// How long access tokens live.
    pub token_lifetime: Duration,
}

/// Who makes a call, as their access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account_id: AccountId,
    /// The session that the token was made for; nil for a delegated caller.
    pub session_id: SessionId,
    /// Whether somebody acts for the account, without a session.
    pub delegated: bool,
}

/// What an access token is to say. Times are Unix microseconds.
struct Signing {
    account: AccountId,
    role: Role,
    session: Uuid,
    kind: &'static str,
    now: i64,
    end: i64,
}

/// Registers accounts, opens sessions and signs tokens.
pub struct Authority {
    policy: Policy,
    store: Store,
    clock: Clock,
    hasher: Hasher,
    limits: Limits,
    keys: Arc<Keyring>,
    delegations: Delegations,
    pager: Pager,
    exchanges: Cache<HandleHash, Arc<Exchanged>>,
    acting: Cache<ActFor, Arc<Acting>>,
    /// Raised whenever sessions or accounts end or change, which makes all earlier entries of `exchanges` and `acting`
    /// old: what was read before a session ended is never served after.
    endings: AtomicU64,
}

impl Authority {
    /// Puts the parts together.
    ///
    /// # Errors
    /// When the store cannot give the key that page tokens are sealed with.
    pub async fn new(
        policy: Policy,
        store: Store,
        clock: Clock,
        hasher: Hasher,
        limits: Limits,
        keys: Arc<Keyring>,
        delegations: Delegations,
    ) -> Result<Self, Error> {
        let mut candidate = [0; 32];
        getrandom::fill(&mut candidate)
            .map_err(|_| Error::internal("the operating system gave no random bytes"))?;
        let pager = Pager::new(store.shared_key("page tokens", candidate).await?);
        let exchanges = Cache::builder().max_capacity(REMEMBERED).time_to_idle(REMEMBERED_IDLE).build();
        let acting = Cache::builder().max_capacity(REMEMBERED).time_to_idle(REMEMBERED_IDLE).build();
        let endings = AtomicU64::new(0);
        Ok(Self {
            policy,
            store,
            clock,
            hasher,
            limits,
            keys,
            delegations,
            pager,
            exchanges,
            acting,
            endings,
        })
    }

    /// Deletes rows that nobody needs any more.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn sweep(&self) -> Result<u64, Error> {
        let now = self.clock.now();
        self.store.sweep(now - ENDED_SESSIONS, now - KEYS_KEPT).await
    }

    /// How many password hashes were computed so far.
    pub fn hashes(&self) -> u64 {
        self.hasher.hashes()
    }

    /// The caller's account as it is stored, if the caller's session lives: a token outlives its session by minutes, but
    /// not here. Behind a delegated caller there is no session, and the account has to be there and active.
    async fn account_of(&self, caller: &Caller) -> Result<StoredAccount, Error> {
        let (account, session) = (caller.account_id, caller.session_id);
        let found = match caller.delegated {
            true => self.store.account(account).await?.filter(|stored| stored.active),
            false => self.store.account_in_session(account, session, self.clock.now()).await?,
        };
        found.ok_or(Error::SessionInvalid)
    }

    /// Compares a password with that of `stored`, within the limits for the name that was given. An unknown or disabled
    /// account costs as much time as a wrong password, and looks the same. Returns the credential to replace the stored
    /// one with, if there is a reason to.
    async fn check_password<'a>(
        &self,
        stored: Option<&'a StoredAccount>,
        name: &LoginKey,
        password: Password,
        source: Source,
    ) -> Result<(&'a StoredAccount, Option<Credential>), Error> {
        self.limits.check_sign_in(name, source, self.clock.now())?;
        let turn = self.hasher.turn().await?;
        // Those who waited along may have failed: with this at most as many attempts as there are cores go beyond.
        self.limits.check_sign_in(name, source, self.clock.now())?;
        let expected = stored.map_or(Expected::Nothing, StoredAccount::expected);
        let verdict = turn.verify(password, expected).await?;
        match (verdict, stored) {
            (Verdict::Right { stronger }, Some(stored)) if stored.active => {
                self.limits.succeeded(name, source);
                Ok((stored, stronger))
            }
            _ => {
                self.limits.failed(name, source, self.clock.now());
                let account = stored.map(|stored| tracing::field::display(stored.account.id));
                tracing::info!(account, %source, "wrong credentials");
                Err(Error::WrongCredentials)
            }
        }
    }

    /// As [`check_password`](Self::check_password), for an account that is known.
    async fn check_password_of(
        &self,
        stored: &StoredAccount,
        password: Password,
        source: Source,
    ) -> Result<(), Error> {
        let name = stored.account.username.key();
        self.check_password(Some(stored), &name, password, source).await.map(drop)
    }

    fn sign(&self, signing: &Signing) -> Result<AccessToken, Error> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: signing.account.0,
            sid: signing.session,
            kind: signing.kind.to_owned(),
            role: signing.role.name().to_owned(),
            iat: signing.now.div_euclid(1_000_000),
            exp: signing.end.div_euclid(1_000_000),
        };
        self.keys.sign(&claims).map_err(|_| Error::internal("an access token could not be signed"))
    }

    /// Whether a token lives long enough to be handed out again.
    fn is_lasting(&self, token: &AccessToken, now: i64) -> bool {
        token.expires_at - now > REUSED_ABOVE && self.keys.publishes(&token.key_id)
    }

    fn endings(&self) -> u64 {
        self.endings.load(Ordering::SeqCst)
    }

    /// To be called after every attempt to end a session or to change or delete an account, whatever came of it, and before
    /// it is answered.
    fn forget_exchanges(&self) {
        self.endings.fetch_add(1, Ordering::SeqCst);
    }

    /// A UUIDv7 (RFC 9562) of the clock's time.
    fn new_id(&self) -> Uuid {
        let now = self.clock.now().max(0);
        let seconds = u64::try_from(now / 1_000_000).unwrap_or_default();
        let nanoseconds = u32::try_from(now % 1_000_000 * 1_000).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanoseconds))
    }
}
