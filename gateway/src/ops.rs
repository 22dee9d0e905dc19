//! What a user can do, over the three services. No HTTP here: the native API, the pages and every other dialect call
//! these, and nothing else, so that one of them cannot do what another cannot.
//!
//! Each function is one thing that a user wants, in the services' own messages. Where it takes more than one call, the
//! order and what happens on failure stand in its documentation.

pub mod accounts;
pub mod buffer;
pub mod changes;
pub mod content;
pub mod delegation;
pub mod folders;
pub mod health;
pub mod links;
pub mod nodes;
pub mod sessions;

use std::borrow::Cow;

use holdall_proto::auth::v1::{AccessToken, Account, Session};
use holdall_proto::unix_us;
use holdall_runtime::clock::Clock;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

use crate::error::{Code, Error};
use crate::upstreams::Upstreams;
use delegation::Leave;

/// Who is asking: the holder of a live session, or an account that the gateway may act for.
#[derive(Clone)]
pub struct Caller {
    proof: Proof,
    authorization: MetadataValue<Ascii>,
    /// Unix microseconds.
    token_expires_at: i64,
    account: Account,
    session: Session,
    clock: Clock,
}

/// What another access token is had for.
#[derive(Clone)]
enum Proof {
    /// The handle of a session.
    Handle(String),
    /// The leave to act for an account.
    Leave(Leave),
}

/// An access token with less than this left, in microseconds, is not relied on for another call.
const TOKEN_MARGIN: i64 = 30_000_000;

/// Which page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// How many at most; zero for the service's default.
    pub size: i32,
    /// Where the page before ended; empty for the first.
    pub token: String,
}

impl Caller {
    /// Whoever gave the proof that was exchanged for this token.
    fn of(
        proof: Proof,
        token: Option<AccessToken>,
        account: Option<Account>,
        session: Session,
        clock: Clock,
    ) -> Result<Self, Error> {
        let (token, account) = token.zip(account).ok_or_else(incomplete)?;
        let token_expires_at = token.expires_at.as_ref().and_then(unix_us).ok_or_else(incomplete)?;
        let mut authorization: MetadataValue<Ascii> =
            format!("Bearer {}", token.token).parse().map_err(|_| incomplete())?;
        authorization.set_sensitive(true);
        Ok(Self { proof, authorization, token_expires_at, account, session, clock })
    }

    /// The same caller some time later: with a new access token when the one at hand is about to end. A session that has
    /// ended meanwhile is an error then.
    async fn renewed(&self, upstreams: &Upstreams) -> Result<Cow<'_, Self>, Error> {
        if self.token_expires_at.saturating_sub(self.clock.now()) > TOKEN_MARGIN {
            return Ok(Cow::Borrowed(self));
        }
        match &self.proof {
            Proof::Handle(handle) => sessions::identify(upstreams, &self.clock, handle.clone()).await,
            Proof::Leave(leave) => leave.act(upstreams).await,
        }
        .map(Cow::Owned)
    }

    /// The account, as it was at most a few seconds ago.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The session, without its secret; one without an id when there is none.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// `message` as a request in the caller's name.
    fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }
}

/// A service left out what its contract says is always there.
fn incomplete() -> Error {
    tracing::error!("a service left out a field that its contract says is always set");
    Error::new(Code::BadGateway)
}
