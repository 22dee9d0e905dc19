//! Signing in and out.

use holdall_proto::auth::v1::{
    AccessToken, CreateSessionRequest, CreateSessionResponse, ExchangeSessionRequest, ListSessionsRequest,
    ListSessionsResponse, RevokeSessionRequest, Session,
};
use holdall_runtime::clock::Clock;

use super::{Caller, Page, incomplete};
use crate::error::Result;
use crate::upstreams::Upstreams;

/// The parts of [`CreateSessionResponse`], all there.
pub struct SignedIn {
    /// The secret that the device keeps.
    pub handle: String,
    /// The session.
    pub session: Session,
    /// A first access token.
    pub access_token: AccessToken,
}

/// Signs in with name and password.
pub async fn create(upstreams: &Upstreams, request: CreateSessionRequest) -> Result<SignedIn> {
    let CreateSessionResponse { handle, session, access_token } =
        upstreams.sessions().create_session(request).await?.into_inner();
    Ok(SignedIn {
        handle,
        session: session.ok_or_else(incomplete)?,
        access_token: access_token.ok_or_else(incomplete)?,
    })
}

/// Who holds this handle. Asked for each request, so that a session that has ended is refused at once.
pub async fn identify(upstreams: &Upstreams, clock: &Clock, handle: String) -> Result<Caller> {
    let request = ExchangeSessionRequest { handle: handle.clone(), extend: false };
    let exchanged = upstreams.sessions().exchange_session(request).await?.into_inner();
    Caller::of(handle, exchanged, clock.clone())
}

/// Extends a session by its idle lifetime, and gives an access token for calls that go to the services directly.
pub async fn extend(upstreams: &Upstreams, handle: String) -> Result<(Session, AccessToken)> {
    let request = ExchangeSessionRequest { handle, extend: true };
    let exchanged = upstreams.sessions().exchange_session(request).await?.into_inner();
    exchanged.session.zip(exchanged.access_token).ok_or_else(incomplete)
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
