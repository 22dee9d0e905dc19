//! Signing in and out.

use holdall_proto::auth::v1::{
    AccessToken, Account, CreateSessionRequest, CreateSessionResponse, ExchangeSessionRequest,
    ExchangeSessionResponse, ListSessionsRequest, ListSessionsResponse, RevokeSessionRequest,
    RotateSessionRequest, RotateSessionResponse, Session,
};
use holdall_runtime::clock::Clock;
use prost_types::Duration;
use tonic::Status;

use super::{Caller, Page, Proof, incomplete};
use crate::error::Result;
use crate::upstreams::Upstreams;

/// More sessions than an account can have at once.
const ALL: i32 = 1000;

/// The parts of [`CreateSessionResponse`], all there.
pub struct SignedIn {
    /// The secret that the device keeps.
    pub handle: String,
    /// The session.
    pub session: Session,
    /// A first access token.
    pub access_token: AccessToken,
    /// Who signed in.
    pub account: Account,
}

impl SignedIn {
    /// The one who signed in, as a caller.
    pub fn caller(&self, clock: &Clock) -> Result<Caller> {
        let (token, account) = (Some(self.access_token.clone()), Some(self.account.clone()));
        Caller::of(Proof::Handle(self.handle.clone()), token, account, self.session.clone(), clock.clone())
    }
}

/// Signs in with name and password.
pub async fn create(upstreams: &Upstreams, request: CreateSessionRequest) -> Result<SignedIn> {
    let CreateSessionResponse { handle, session, access_token, account } =
        upstreams.sessions().create_session(request).await?.into_inner();
    Ok(SignedIn {
        handle,
        session: session.ok_or_else(incomplete)?,
        access_token: access_token.ok_or_else(incomplete)?,
        account: account.ok_or_else(incomplete)?,
    })
}

/// Who holds this handle. Asked for each request, so that a session that has ended here is refused at once, and one that has
/// ended elsewhere within seconds.
pub async fn identify(upstreams: &Upstreams, clock: &Clock, handle: String) -> Result<Caller> {
    let ExchangeSessionResponse { session, access_token, account, .. } =
        exchange(upstreams, handle.clone()).await?;
    let session = session.ok_or_else(incomplete)?;
    Caller::of(Proof::Handle(handle), access_token, account, session, clock.clone())
}

/// What this handle stands for, in auth's own words.
///
/// # Errors
/// The status that auth gave, for whoever passes it on.
pub async fn exchange(upstreams: &Upstreams, handle: String) -> Result<ExchangeSessionResponse, Status> {
    let request = ExchangeSessionRequest { handle, extend: false };
    upstreams.exchange(request).await
}

/// Extends a session by its idle lifetime, and gives an access token for calls that go to the services directly.
pub async fn extend(upstreams: &Upstreams, handle: String) -> Result<(Session, AccessToken)> {
    let request = ExchangeSessionRequest { handle, extend: true };
    let exchanged = upstreams.sessions().exchange_session(request).await?.into_inner();
    exchanged.session.zip(exchanged.access_token).ok_or_else(incomplete)
}

/// Replaces the handle of a session of the kind `SESSION_KIND_LEGACY`, which lives for `lifetime` from now on. The old handle
/// is good for nothing then.
pub async fn rotate(upstreams: &Upstreams, handle: String, lifetime: Duration) -> Result<SignedIn> {
    let request = RotateSessionRequest { handle, lifetime: Some(lifetime) };
    let RotateSessionResponse { handle, session, access_token, account } =
        upstreams.sessions().rotate_session(request).await?.into_inner();
    Ok(SignedIn {
        handle,
        session: session.ok_or_else(incomplete)?,
        access_token: access_token.ok_or_else(incomplete)?,
        account: account.ok_or_else(incomplete)?,
    })
}

/// Lists the caller's sessions.
pub async fn list(upstreams: &Upstreams, caller: &Caller, page: Page) -> Result<ListSessionsResponse> {
    let request = ListSessionsRequest { page_size: page.size, page_token: page.token };
    Ok(upstreams.sessions().list_sessions(caller.asks(request)).await?.into_inner())
}

/// Ends one of the caller's sessions; with an empty id, the one in use.
pub async fn revoke(upstreams: &Upstreams, caller: &Caller, session_id: String) -> Result<()> {
    upstreams.sessions().revoke_session(caller.asks(RevokeSessionRequest { session_id })).await?;
    Ok(())
}

/// Ends all sessions of the kind and device name of the caller's but that one, when they are more than `most`.
pub async fn end_crowd(upstreams: &Upstreams, caller: &Caller, most: usize) -> Result<()> {
    let own = caller.session();
    let listed = list(upstreams, caller, Page { size: ALL, token: String::new() }).await?;
    let mut others = listed.sessions;
    others.retain(|other| {
        other.session_id != own.session_id && other.kind == own.kind && other.device_name == own.device_name
    });
    if others.len() > most {
        for other in others {
            revoke(upstreams, caller, other.session_id).await?;
        }
    }
    Ok(())
}
