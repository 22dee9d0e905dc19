//! Registering, logging in, renewing a token, logging out.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use holdall_proto::auth::v1::{CreateSessionRequest, RegisterRequest, SessionKind};
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use serde_json::Value;

use super::answer::{AuthError, Failure, SUCCESS, Said, json};
use super::limits::{self, Endpoint};
use super::member::{self, DEVICE};
use super::query::Query;
use crate::App;
use crate::error::{Code, Error, Result};
use crate::identity::ClientAddress;
use crate::ops::sessions::{self, SignedIn};
use crate::transfer::body::whole;

/// An account that has more other tokens than this at a login loses them.
const MOST_TOKENS: usize = 10;

const NOTHING_PROVIDED: Failure =
    Failure::Numbered(StatusCode::BAD_REQUEST, "No username/password provided", 2);
const NOT_USABLE: Failure = Failure::Numbered(StatusCode::BAD_REQUEST, "Invalid username/password", 2);
const TAKEN: Failure =
    Failure::Numbered(StatusCode::BAD_REQUEST, "An account with this name is already registered", 1);
const WRONG_PASSWORD: Failure = Failure::Numbered(StatusCode::BAD_REQUEST, "Wrong password", 3);
const NO_USER: Failure = Failure::Numbered(StatusCode::NOT_FOUND, "User not found", 4);
const NO_TOKEN: Failure = Failure::Numbered(StatusCode::BAD_REQUEST, "No access token provided", 5);

#[derive(Serialize)]
struct Entered<'a> {
    status: &'static str,
    #[serde(rename = "accessToken")]
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    message: &'static str,
}

/// `POST /api/register`: makes an account and logs in to it.
pub async fn register(
    State(app): State<App>,
    client: ClientAddress,
    uri: Uri,
    body: Body,
) -> Result<Response, Failure> {
    let token_seconds = token_seconds(&app, &uri)?;
    limits::admit_client(&app, Endpoint::Register, &client)?;
    let Credentials { username, password } = Credentials::of(body).await?;
    let request = RegisterRequest {
        username: username.clone(),
        password: password.clone(),
        client_address: client.0.clone(),
        min_password_length: app.compat.password_min_length,
        ..RegisterRequest::default()
    };
    app.delegate()?.register(&app.upstreams, request).await.map_err(|error| match error.code {
        Code::UsernameTaken => TAKEN,
        Code::InvalidAccount | Code::InvalidField => NOT_USABLE,
        _ => Failure::Other(error),
    })?;
    let signed_in = sign_in(&app, client, username, password, token_seconds).await?;
    entered(&app, signed_in, token_seconds)
}

/// `POST /api/login`.
pub async fn login(
    State(app): State<App>,
    client: ClientAddress,
    uri: Uri,
    body: Body,
) -> Result<Response, Failure> {
    let token_seconds = token_seconds(&app, &uri)?;
    limits::admit_client(&app, Endpoint::Login, &client)?;
    let Credentials { username, password } = Credentials::of(body).await?;
    let signed_in = match sign_in(&app, client, username.clone(), password, token_seconds).await {
        Ok(signed_in) => signed_in,
        Err(error) if matches!(error.code, Code::WrongCredentials | Code::InvalidField) => {
            return Err(wrong(&app, &username).await);
        }
        Err(error) => return Err(error.into()),
    };
    sessions::end_crowd(&app.upstreams, &signed_in.caller(&app.clock)?, MOST_TOKENS).await?;
    entered(&app, signed_in, token_seconds)
}

/// `POST /api/refresh_token`: a new token for an old one, which is good for nothing then.
pub async fn refresh(State(app): State<App>, client: ClientAddress, body: Body) -> Result<Response, Failure> {
    limits::admit_client(&app, Endpoint::Refresh, &client)?;
    let [token] = texts(body, ["accessToken"]).await?.ok_or(NO_TOKEN)?;
    // The web page of the original sends the word along that the documentation leaves out.
    let token = match token.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        _ => &token,
    };
    let claims = member::read(&app, token).map_err(Failure::Auth)?;
    limits::admit_account(&app, Endpoint::Refresh, claims.user_id)?;
    if claims.is_over(&app) {
        let caller = member::of_session(&app, claims).await?;
        return Err(member::expire(&app, &caller).await);
    }
    let token_seconds = app.compat.file_uploader.token_seconds;
    let rotated = sessions::rotate(&app.upstreams, claims.handle, member::lifetime(token_seconds)).await;
    let signed_in = rotated.map_err(|error| match error.code {
        Code::Unauthenticated => Failure::Auth(AuthError::Unknown),
        _ => Failure::Other(error),
    })?;
    let access_token = &member::issue(&app, signed_in, token_seconds)?;
    let body = Entered { status: SUCCESS, access_token, username: None, message: "token refreshed" };
    Ok(json(StatusCode::OK, &body))
}

/// `POST /api/logout`.
pub async fn logout(
    State(app): State<App>,
    client: ClientAddress,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    limits::admit_client(&app, Endpoint::Logout, &client)?;
    let caller = member::identify(&app, &headers).await?;
    limits::admit_account(&app, Endpoint::Logout, caller.account().number)?;
    sessions::revoke(&app.upstreams, &caller, String::new()).await?;
    Ok(Said::success("logged out"))
}

/// How long the token is to live that is asked for.
fn token_seconds(app: &App, uri: &Uri) -> Result<u32, Failure> {
    let settings = &app.compat.file_uploader;
    let bot = Query::of(uri).flag("bot")?;
    Ok(if bot { settings.bot_token_seconds } else { settings.token_seconds })
}

async fn sign_in(
    app: &App,
    client: ClientAddress,
    login: String,
    password: String,
    token_seconds: u32,
) -> Result<SignedIn> {
    let request = CreateSessionRequest {
        login,
        password,
        kind: SessionKind::Legacy.into(),
        device_name: DEVICE.to_owned(),
        client_address: client.0,
        lifetime: Some(member::lifetime(token_seconds)),
        ..CreateSessionRequest::default()
    };
    sessions::create(&app.upstreams, request).await
}

/// Which of the two is wrong, as this API promises to tell.
async fn wrong(app: &App, username: &str) -> Failure {
    let account = match app.delegate() {
        Ok(delegate) => delegate.act_for(&app.upstreams, username, DEVICE).await,
        Err(error) => Err(error),
    };
    match account {
        Ok(_) => WRONG_PASSWORD,
        Err(error) if matches!(error.code, Code::NotFound | Code::InvalidField) => NO_USER,
        Err(error) => Failure::Other(Error::of_read(error)),
    }
}

fn entered(app: &App, signed_in: SignedIn, token_seconds: u32) -> Result<Response, Failure> {
    let username = signed_in.account.username.clone();
    let access_token = &member::issue(app, signed_in, token_seconds)?;
    let message = "logged in with password";
    let body = Entered { status: SUCCESS, access_token, username: Some(&username), message };
    Ok(json(StatusCode::OK, &body))
}

struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    async fn of(body: Body) -> Result<Self, Failure> {
        let [username, password] = texts(body, ["username", "password"]).await?.ok_or(NOTHING_PROVIDED)?;
        Ok(Self { username, password })
    }
}

/// The fields of those names of a JSON object, whatever type the client says that it has; `None` when one is missing or
/// empty, or when it is no object.
async fn texts<const N: usize>(body: Body, names: [&str; N]) -> Result<Option<[String; N]>> {
    Ok(texts_of(&whole(body).await?, names))
}

fn texts_of<const N: usize>(body: &[u8], names: [&str; N]) -> Option<[String; N]> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return None };
    let texts = names.map(|name| match object.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    });
    texts.iter().all(|text| !text.is_empty()).then_some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_text_whatever_they_were() {
        let read = |body: &str| texts_of(body.as_bytes(), ["username", "password"]);
        let both = |username: &str, password: &str| Some([username.to_owned(), password.to_owned()]);
        assert_eq!(read(r#"{"username":"a b","password":"ü"}"#), both("a b", "ü"));
        assert_eq!(read(r#"{"username":1,"password":true,"more":{}}"#), both("1", "true"));
        for body in [
            "",
            "username=a&password=b",
            "[]",
            "null",
            "{}",
            r#"{"username":"a"}"#,
            r#"{"username":"a","password":""}"#,
            r#"{"username":null,"password":"b"}"#,
            r#"{"username":"a","password":"b""#,
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
