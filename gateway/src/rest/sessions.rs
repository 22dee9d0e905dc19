//! `/sessions`.

use axum::extract::State;
use holdall_proto::auth::v1::{self as auth, CreateSessionRequest};
use http::StatusCode;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::extract::{Json, Parameters, Path};
use super::page::{PageQuery, next};
use super::problem::Result;
use super::time::Time;
use crate::App;
use crate::identity::{ClientAddress, Handle};
use crate::ops::Caller;
use crate::ops::sessions::{self, SignedIn};

/// What a session is for. Its lifetime depends on it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A browser.
    Web,
    /// A program or the command line.
    Api,
    /// A device that keeps folders in sync.
    Sync,
    /// A client of one of the older APIs.
    Legacy,
}

impl From<auth::SessionKind> for SessionKind {
    fn from(kind: auth::SessionKind) -> Self {
        match kind {
            auth::SessionKind::Web => Self::Web,
            auth::SessionKind::Sync => Self::Sync,
            auth::SessionKind::Legacy => Self::Legacy,
            auth::SessionKind::Api | auth::SessionKind::Unspecified => Self::Api,
        }
    }
}

impl From<SessionKind> for auth::SessionKind {
    fn from(kind: SessionKind) -> Self {
        match kind {
            SessionKind::Web => Self::Web,
            SessionKind::Api => Self::Api,
            SessionKind::Sync => Self::Sync,
            SessionKind::Legacy => Self::Legacy,
        }
    }
}

/// A signed-in device.
#[derive(Serialize, ToSchema)]
pub struct Session<'a> {
    /// UUID; not a secret.
    session_id: &'a str,
    /// Whose it is.
    account_id: &'a str,
    /// What it is for.
    kind: SessionKind,
    /// As the device named itself; may be empty.
    device_name: &'a str,
    /// When it signed in.
    created_at: Time,
    /// When it was used last, to within some minutes.
    last_used_at: Time,
    /// When it ends by itself unless it is extended before.
    expires_at: Time,
    /// Whether this request was made with it.
    current: bool,
}

impl<'a> Session<'a> {
    fn seen_from(current: &str, session: &'a auth::Session) -> Self {
        Self {
            session_id: &session.session_id,
            account_id: &session.account_id,
            kind: session.kind().into(),
            device_name: &session.device_name,
            created_at: Time::from(&session.created_at),
            last_used_at: Time::from(&session.last_used_at),
            expires_at: Time::from(&session.expires_at),
            current: session.session_id == current,
        }
    }
}

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Username or e-mail address; may also be sent as `username`.
    #[serde(alias = "username")]
    #[schema(example = "alice")]
    login: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
    /// Shown in the list of sessions; at most 100 characters.
    device_name: Option<String>,
    /// What the session is for; `api` when left out.
    kind: Option<SessionKind>,
}

/// A new session, with its secret.
#[derive(Serialize, ToSchema)]
pub struct NewSession<'a> {
    /// UUID; not a secret.
    session_id: &'a str,
    /// The secret to send as `Authorization: Bearer`. Told here once and never again.
    token: &'a str,
    /// Whose session it is.
    account_id: &'a str,
    /// When it ends by itself unless it is extended before.
    expires_at: Time,
}

/// Signs in.
#[utoipa::path(
    post, path = "/sessions", tag = "sessions", operation_id = "sign_in", security(()),
    request_body = Credentials,
    responses(
        (status = 201, description = "The session.", body = NewSession),
        (status = 401, description = "wrong_credentials"),
        (status = 429, description = "rate_limited"),
    ),
)]
pub async fn create(
    State(app): State<App>,
    ClientAddress(client_address): ClientAddress,
    Json(Credentials { login, password, device_name, kind }): Json<Credentials>,
) -> Result {
    let request = CreateSessionRequest {
        login,
        password,
        kind: kind.map_or(auth::SessionKind::Api, Into::into).into(),
        device_name: device_name.unwrap_or_default(),
        client_address,
        ..CreateSessionRequest::default()
    };
    let SignedIn { handle, session, .. } = sessions::create(&app.upstreams, request).await?;
    let body = NewSession {
        session_id: &session.session_id,
        token: &handle,
        account_id: &session.account_id,
        expires_at: Time::from(&session.expires_at),
    };
    Answer::json(StatusCode::CREATED, &body)?.location(&format!("/sessions/{}", session.session_id))?.send()
}

/// An extended session.
#[derive(Serialize, ToSchema)]
pub struct Extended<'a> {
    /// UUID; not a secret.
    session_id: &'a str,
    /// When the session ends by itself unless it is extended again.
    expires_at: Time,
    /// A token for calls that go to the services directly, over gRPC.
    access_token: &'a str,
    /// When that token ends; minutes away.
    access_token_expires_at: Time,
}

/// Extends the session in use by its idle lifetime, and gives an access token for direct gRPC calls.
#[utoipa::path(
    post, path = "/sessions/refresh", tag = "sessions", operation_id = "extend_session",
    responses((status = 200, description = "The session as it is now.", body = Extended)),
)]
pub async fn extend(State(app): State<App>, handle: Handle) -> Result {
    let (session, token) = sessions::extend(&app.upstreams, handle.0).await?;
    let body = Extended {
        session_id: &session.session_id,
        expires_at: Time::from(&session.expires_at),
        access_token: &token.token,
        access_token_expires_at: Time::from(&token.expires_at),
    };
    Answer::json(StatusCode::OK, &body)?.send()
}

/// A page of sessions.
#[derive(Serialize, ToSchema)]
pub struct Sessions<'a> {
    /// The newest first.
    #[schema(value_type = Vec<Session>)]
    items: Items<'a>,
    /// Null on the last page.
    next_cursor: Option<&'a str>,
}

struct Items<'a> {
    current: &'a str,
    sessions: &'a [auth::Session],
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.sessions.iter().map(|session| Session::seen_from(self.current, session)))
    }
}

/// Lists the sessions of the account, the newest first.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions", operation_id = "list_sessions", params(PageQuery),
    responses(
        (status = 200, description = "A page.", body = Sessions),
        (status = 400, description = "invalid_cursor"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Result {
    let page = sessions::list(&app.upstreams, &caller, query.page()?).await?;
    let items = Items { current: &caller.session().session_id, sessions: &page.sessions };
    Answer::json(StatusCode::OK, &Sessions { items, next_cursor: next(&page.next_page_token) })?.send()
}

/// Ends a session.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "sessions", operation_id = "end_session",
    params(("id" = String, Path, description = "The session, or `current` for the one in use.")),
    responses((status = 204, description = "It has ended."), (status = 404, description = "not_found")),
)]
pub async fn end(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result {
    let id = if id == "current" { String::new() } else { id };
    sessions::revoke(&app.upstreams, &caller, id).await?;
    answer::nothing()
}
