//! Signing in, exchanging handles for tokens, replacing handles, and signing out.

use std::sync::Arc;
use std::time::Duration;

use holdall_sql::pages::page_size;
use uuid::Uuid;

use super::{Authority, Caller, FRESH, REUSED_ABOVE, Signing};
use crate::domain::{
    AccessToken, Account, Error, Handle, HandleForm, HandleHash, Kind, Lifetime, LoginKey, Password, Role,
    Rule, Session, SessionId, after, device_name,
};
use crate::limits::Source;
use crate::store::{NewSession, SessionAdded, SessionPosition};

/// The use of a session is written down when the last note of it is older than this.
const NOTED_EVERY: i64 = 5 * 60_000_000;

/// The most live sessions of an account.
const MOST_SESSIONS: u32 = 1_000;

/// What it takes to sign in, checked.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Username or address; `None` for what can be neither.
    pub login: Option<LoginKey>,
    /// The password.
    pub password: Password,
    /// What the session is for.
    pub kind: Kind,
    /// How the device calls itself.
    pub device_name: String,
    /// Who asks.
    pub source: Source,
    /// How long the session is to live, with or without use; `None` for the lifetimes of its kind.
    pub lifetime: Option<Duration>,
    /// How its handle is written.
    pub form: HandleForm,
    /// Whether a live session of the same account, kind and device name that began so will do.
    pub reuse: bool,
}

/// A new session, or one that is reused.
#[derive(Debug)]
pub struct SignedIn {
    /// The secret that the device keeps.
    pub handle: Handle,
    /// What was made.
    pub session: Session,
    /// A first token.
    pub token: AccessToken,
    /// Who signed in.
    pub account: Account,
}

/// What a handle stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// The session as it was when it was last looked at.
    pub session: Session,
    /// A token for it.
    pub token: AccessToken,
    /// Whose it is, as it was then.
    pub account: Account,
    looked_at: i64,
    endings: u64,
}

impl SignIn {
    /// Checks what was asked for against the rules.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn new(
        login: &str,
        password: &str,
        kind: Kind,
        device: &str,
        client_address: &str,
    ) -> Result<Self, Error> {
        Ok(Self {
            login: LoginKey::of_login(login),
            password: Password::to_compare("password", password)?,
            kind,
            device_name: device_name(device)?.to_owned(),
            source: Source::parse(client_address)?,
            lifetime: None,
            form: HandleForm::Long,
            reuse: false,
        })
    }
}

impl Authority {
    /// Opens a session, or finds the one that is to be reused.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a lifetime that is too long, [`Error::Forbidden`] for reuse where there is no key to
    /// derive handles from; [`Error::WrongCredentials`], [`Error::RateLimited`], [`Error::Overloaded`], [`Error::Unavailable`],
    /// [`Error::Internal`].
    pub async fn sign_in(&self, request: SignIn) -> Result<SignedIn, Error> {
        let lifetime = self.lifetime(request.kind, request.lifetime)?;
        let nobody = LoginKey::nobody();
        let name = request.login.as_ref().unwrap_or(&nobody);
        let found = self.store.account_by_login(name).await?;
        let (stored, stronger) =
            self.check_password(found.as_ref(), name, request.password, request.source).await?;

        let now = self.clock.now();
        let session = Session::start(
            SessionId(self.new_id()),
            stored.account.id,
            request.kind,
            request.device_name,
            lifetime,
            now,
        );
        let handle = match request.reuse {
            true => self.delegations.handle(session.id, request.form)?,
            false => Handle::generate(request.form)?,
        };
        let known =
            |id, hash| self.delegations.handles(id, request.form).find(|handle| handle.hash() == hash);
        let fits = |id, hash| known(id, hash).is_some();
        let new = NewSession {
            session: &session,
            handle: handle.hash(),
            credential: &stored.credential,
            stronger: stronger.as_ref(),
            reuse: request.reuse.then_some(&fits),
            most: MOST_SESSIONS,
        };
        let added = self.store.add_session(&new).await;
        if !matches!(added, Ok(SessionAdded::Begun { ended: 0 } | SessionAdded::Reused { .. })) {
            // Others may have ended.
            self.forget_exchanges();
        }
        let (session, handle, reused) = match added? {
            SessionAdded::Begun { .. } => (session, handle, false),
            SessionAdded::Reused { session, handle } => {
                let handle = known(session.id, handle);
                (session, handle.ok_or_else(|| Error::internal("a handle is not what it was"))?, true)
            }
            // The password was changed while it was being compared.
            SessionAdded::Refused => return Err(Error::WrongCredentials),
        };
        let token = self.sign_for(&session, stored.account.role, now)?;
        tracing::info!(
            account = %session.account_id,
            session = %session.id,
            kind = session.kind.name(),
            reused,
            source = %request.source,
            "signed in"
        );
        Ok(SignedIn { handle, session, token, account: stored.account.clone() })
    }

    /// How long a session of that kind is going to live.
    fn lifetime(&self, kind: Kind, asked: Option<Duration>) -> Result<Lifetime, Error> {
        let usual = self.policy.lifetimes.of(kind);
        let refuse = |rule| Err(Error::InvalidField { field: "lifetime", rule });
        match asked {
            None => Ok(usual),
            Some(asked) if asked.as_micros() == 0 => refuse(Rule::NotPositive),
            Some(asked) if asked > usual.absolute => refuse(Rule::LongerThanItsKind),
            Some(asked) => Ok(Lifetime { idle: asked, absolute: asked }),
        }
    }

    /// Exchanges a handle for a token, and moves the end of its session if asked to. The token lives for a minute at
    /// least, unless the session ends before.
    ///
    /// # Errors
    /// [`Error::SessionInvalid`], [`Error::Unavailable`], [`Error::Internal`].
    pub async fn exchange(&self, handle: &str, extend: bool) -> Result<Arc<Exchanged>, Error> {
        let hash = Handle::parse(handle).ok_or(Error::SessionInvalid)?.hash();
        let now = self.clock.now();
        let known = self.exchanges.get(&hash);
        if !extend
            && let Some(known) = &known
            && self.is_current(known, now)
        {
            return Ok(Arc::clone(known));
        }
        self.exchange_anew(hash, extend, known.as_deref(), now).await.inspect_err(|error| {
            if matches!(error, Error::SessionInvalid) {
                self.exchanges.invalidate(&hash);
            }
        })
    }

    async fn exchange_anew(
        &self,
        hash: HandleHash,
        extend: bool,
        known: Option<&Exchanged>,
        now: i64,
    ) -> Result<Arc<Exchanged>, Error> {
        // Read before the session is: what ends from here on makes this exchange old.
        let endings = self.endings();
        let found = self.store.session_by_handle(hash, now).await?.ok_or(Error::SessionInvalid)?;
        let (mut session, account) = (found.session, found.account);
        if extend {
            let until = session.extended(self.policy.lifetimes.of(session.kind), now);
            session.expires_at =
                self.store.extend_session(session.id, until, now).await?.ok_or(Error::SessionInvalid)?;
            session.last_used_at = now;
        } else if now - session.last_used_at > NOTED_EVERY {
            match self.store.touch_session(session.id, now).await {
                Ok(()) => session.last_used_at = now,
                // The note is not worth the call.
                Err(error) => {
                    tracing::warn!(session = %session.id, %error, "the use of a session was not noted");
                }
            }
        }
        let token = match known {
            Some(known)
                if known.account.role == account.role && self.is_good(&known.token, &session, now) =>
            {
                known.token.clone()
            }
            _ => self.sign_for(&session, account.role, now)?,
        };
        let exchanged = Arc::new(Exchanged { session, token, account, looked_at: now, endings });
        self.exchanges.insert(hash, Arc::clone(&exchanged));
        Ok(exchanged)
    }

    /// For how long whoever asked may take an exchange again by itself, in microseconds, so that the end of its session is
    /// noticed as soon as if it asked each time.
    pub fn reusable_for(&self, exchanged: &Exchanged) -> i64 {
        self.rest_of(exchanged.looked_at, &exchanged.token)
    }

    /// What is left of [`FRESH`], as long as the token can be handed out again.
    pub(super) fn rest_of(&self, looked_at: i64, token: &AccessToken) -> i64 {
        let now = self.clock.now();
        (FRESH - (now - looked_at)).min(token.expires_at - now - REUSED_ABOVE).clamp(0, FRESH)
    }

    /// Replaces a handle, which stops working at once, by a new one of the same form; the lifetime of the session begins anew.
    ///
    /// # Errors
    /// [`Error::SessionInvalid`], [`Error::Forbidden`] for sessions of kinds whose lifetime is not to begin anew,
    /// [`Error::InvalidField`] for a lifetime that is too long; [`Error::Unavailable`], [`Error::Internal`].
    pub async fn rotate_session(&self, handle: &str, lifetime: Option<Duration>) -> Result<SignedIn, Error> {
        let old = Handle::parse(handle).ok_or(Error::SessionInvalid)?;
        let now = self.clock.now();
        let found = self.store.session_by_handle(old.hash(), now).await?.ok_or(Error::SessionInvalid)?;
        if found.session.kind != Kind::Legacy {
            return Err(Error::Forbidden);
        }
        let lifetime = self.lifetime(found.session.kind, lifetime)?;
        let session = found.session.renewed(lifetime, now);
        let handle = Handle::generate(old.form())?;
        let token = self.sign_for(&session, found.account.role, now)?;
        let rotated = self.store.rotate_session(old.hash(), handle.hash(), &session, now).await;
        self.exchanges.invalidate(&old.hash());
        self.forget_exchanges();
        if !rotated? {
            return Err(Error::SessionInvalid);
        }
        tracing::info!(account = %session.account_id, session = %session.id, "handle replaced");
        Ok(SignedIn { handle, session, token, account: found.account })
    }

    /// Whether an exchange can be answered again as it was.
    fn is_current(&self, known: &Exchanged, now: i64) -> bool {
        known.endings == self.endings()
            && (0..FRESH).contains(&(now - known.looked_at))
            && known.session.expires_at > now
            && self.is_good(&known.token, &known.session, now)
    }

    /// Whether a token can be handed out again: nothing longer-lived could be signed, or it lives long enough.
    fn is_good(&self, token: &AccessToken, session: &Session, now: i64) -> bool {
        let last = token.expires_at > now
            && token.expires_at == whole_seconds(session.expires_at)
            && self.keys.publishes(&token.key_id);
        (last || self.is_lasting(token, now)) && token.expires_at <= session.expires_at
    }

    fn sign_for(&self, session: &Session, role: Role, now: i64) -> Result<AccessToken, Error> {
        self.sign(&Signing {
            account: session.account_id,
            role,
            session: session.id.0,
            kind: session.kind.name(),
            now,
            end: after(now, self.policy.token_lifetime).min(session.expires_at),
        })
    }

    /// The caller's live sessions, the newest first, and the token of the next page if there is one.
    ///
    /// # Errors
    /// [`Error::InvalidPageToken`], [`Error::InvalidField`], [`Error::SessionInvalid`], [`Error::Unavailable`],
    /// [`Error::Internal`].
    pub async fn list_sessions(
        &self,
        caller: &Caller,
        size: i32,
        page_token: &str,
    ) -> Result<(Vec<Session>, Option<String>), Error> {
        const DEFAULT: u32 = 100;
        const MOST: u32 = 1_000;
        let size = page_size(size, DEFAULT, MOST)
            .map_err(|_| Error::InvalidField { field: "page_size", rule: Rule::Negative })?;
        let scope = format!("sessions of {}", caller.account_id);
        let position: Option<SessionPosition> = match page_token {
            "" => None,
            token => Some(self.pager.decode(&scope, token).map_err(|_| Error::InvalidPageToken)?),
        };
        self.account_of(caller).await?;
        let now = self.clock.now();
        // One more than asked for, to see whether there is a next page.
        let mut sessions =
            self.store.sessions(caller.account_id, position.as_ref(), size.saturating_add(1), now).await?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let more = sessions.len() > size;
        sessions.truncate(size);
        let next = match sessions.last() {
            Some(last) if more => {
                let position: SessionPosition = (last.created_at, last.id.to_string());
                let token = self.pager.encode(&scope, &position);
                Some(token.map_err(|_| Error::internal("a page token could not be made"))?)
            }
            _ => None,
        };
        Ok((sessions, next))
    }

    /// Ends one of the caller's sessions, by its id or, if that is empty, the one that the caller's token was made for.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it never was the caller's; [`Error::SessionInvalid`], [`Error::Unavailable`].
    pub async fn revoke_session(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        let id = match id {
            "" => caller.session_id,
            id => SessionId(Uuid::try_parse(id).map_err(|_| Error::NotFound)?),
        };
        self.account_of(caller).await?;
        let revoked = self.store.revoke_session(caller.account_id, id, self.clock.now()).await;
        self.forget_exchanges();
        if !revoked? {
            return Err(Error::NotFound);
        }
        tracing::info!(account = %caller.account_id, session = %id, by = %caller.session_id, "session ended");
        Ok(())
    }
}

fn whole_seconds(time: i64) -> i64 {
    time.div_euclid(1_000_000) * 1_000_000
}
