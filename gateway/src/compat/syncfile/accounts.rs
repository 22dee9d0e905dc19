//! `userRegister`, `getAuthID`, `isAuthAlive`.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use holdall_proto::auth::v1::{CreateSessionRequest, RegisterRequest, SessionKind};
use prost_types::Duration;

use super::answer::{
    ALIVE, BLANK, EMAIL_TAKEN, REGISTERED, Refusal, SIGNED_IN, USERNAME_CHARACTERS, USERNAME_TAKEN,
    WRONG_CREDENTIALS,
};
use super::details::date_and_time;
use super::parameters::Parameters;
use crate::App;
use crate::error::{self, Code, Error};
use crate::identity::ClientAddress;
use crate::ops::sessions::{self, SignedIn};

/// The name of the session that an authid stands for; there is one at a time.
const DEVICE: &str = "SyncFile";

/// `userRegister`: makes an account.
pub async fn register(
    State(app): State<App>,
    client: ClientAddress,
    request: Request,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(request).await?;
    let [username, password, email] = ["username", "password", "email"].map(|name| parameters.get(name));
    // The order of the original, which its clients can see.
    if is_refused_name(username) {
        return Err(USERNAME_CHARACTERS.into());
    }
    if [username, password, email].iter().any(|value| value.trim().is_empty()) {
        return Err(BLANK.into());
    }
    let request = RegisterRequest {
        username: username.to_owned(),
        password: password.to_owned(),
        email: email.to_owned(),
        client_address: client.0,
        min_password_length: app.compat.password_min_length,
        any_email: true,
        ..RegisterRequest::default()
    };
    match app.delegate()?.register(&app.upstreams, request).await {
        Ok(_) => Ok(REGISTERED.into_response()),
        Err(error) => Err(not_registered(error)),
    }
}

/// The characters that the original refuses, and the names that lead out of a folder.
fn is_refused_name(username: &str) -> bool {
    username.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']) || matches!(username, "." | "..")
}

fn not_registered(error: Error) -> Refusal {
    match error.code {
        Code::UsernameTaken => USERNAME_TAKEN.into(),
        Code::EmailTaken => EMAIL_TAKEN.into(),
        // Something that cannot be seen in the name, or too much of anything.
        Code::InvalidAccount if error.fields.iter().any(|(field, _)| field == "username") => {
            USERNAME_CHARACTERS.into()
        }
        Code::InvalidAccount | Code::InvalidField => BLANK.into(),
        _ => error.into(),
    }
}

/// `getAuthID`: signs in. The same authid for as long as it lives, then a new one.
pub async fn sign_in(
    State(app): State<App>,
    client: ClientAddress,
    request: Request,
) -> Result<Response, Refusal> {
    let signed_in = async {
        let parameters = Parameters::of(request).await?;
        let request = CreateSessionRequest {
            login: parameters.get("username").to_owned(),
            password: parameters.get("password").to_owned(),
            kind: SessionKind::Sync.into(),
            device_name: DEVICE.to_owned(),
            client_address: client.0,
            lifetime: Some(Duration { seconds: app.compat.syncfile.authid_seconds.into(), nanos: 0 }),
            reuse: true,
            uuid_handle: true,
        };
        begin_session(&app, request).await
    };
    match signed_in.await {
        Ok(signed_in) => Ok(SIGNED_IN.with("authid", signed_in.handle).into_response()),
        Err(Error { code: Code::WrongCredentials | Code::InvalidField, .. }) => {
            Err(WRONG_CREDENTIALS.with("authid", "").into())
        }
        Err(error) => Err(Refusal::from(error).with("authid", "")),
    }
}

/// Where sessions of the kind may not live as long as an authid, it lives as long as they do.
async fn begin_session(app: &App, request: CreateSessionRequest) -> error::Result<SignedIn> {
    match sessions::create(&app.upstreams, request.clone()).await {
        Err(error) if error.fields.iter().any(|(field, _)| field == "lifetime") => {
            sessions::create(&app.upstreams, CreateSessionRequest { lifetime: None, ..request }).await
        }
        created => created,
    }
}

/// `isAuthAlive`: since when the authid is good. Asking does not make it live longer.
pub async fn is_alive(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let caller = async { Parameters::of(request).await?.caller(&app).await }.await;
    match caller {
        Ok(caller) => {
            let since = caller.session().created_at.unwrap_or_default();
            Ok(ALIVE.with("auth_time", format!("UTC: {}", date_and_time(&since))).into_response())
        }
        Err(error) => Err(Refusal::from(error).with("auth_time", "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_taken_for_paths_are_refused() {
        for name in ["a/b", r"a\b", "a:", "*", "?", "\"", "<", ">", "|", ".", ".."] {
            assert!(is_refused_name(name), "{name}");
        }
        for name in ["", " ", "bob", "Jürgen", "a.b", "a b", "日本", "a@b.c"] {
            assert!(!is_refused_name(name), "{name}");
        }
    }
}
