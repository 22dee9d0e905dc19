//! `/account/login`.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use holdall_proto::auth::v1::{CreateSessionRequest, SessionKind};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode, Uri};

use super::{NO_STORE, Result, form, plain, redirect};
use crate::App;
use crate::error::Code;
use crate::identity::ClientAddress;
use crate::ops::sessions::{self, SignedIn};
use crate::transfer::fields::Fields;
use crate::web::{Message, Nav, cookie, device, html, html_with_form, next, origin};

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    nav: Nav,
    /// Where to go afterwards.
    next: &'a str,
    username: &'a str,
    /// What was wrong; empty at first.
    problem: &'a str,
}

impl Login<'_> {
    fn answer(&self, status: StatusCode) -> Response {
        html_with_form(status, self)
    }
}

/// The form.
pub async fn page(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result {
    let caller = cookie::caller(&app, &headers).await?;
    let query = Fields::urlencoded(uri.query().unwrap_or_default().as_bytes());
    let next = next::local(query.get("next").unwrap_or_default());
    let nav = Nav::of(caller.as_ref(), "/account/login");
    Ok(Login { nav, next, username: "", problem: "" }.answer(StatusCode::OK))
}

/// Signs in.
pub async fn submit(State(app): State<App>, client: ClientAddress, request: Request) -> Result {
    let (parts, body) = request.into_parts();
    origin::check(&app, &parts.uri, &parts.headers)?;
    let fields = form::read(&parts.headers, body).await?;
    let is_page = form::is_page(&fields);
    let field = |name| fields.get(name).unwrap_or_default();
    let (username, password) = (field("username").trim(), field("password"));
    let again = |status, problem| {
        let next = next::local(field("next"));
        Login { nav: Nav::of(None, "/account/login"), next, username, problem }.answer(status)
    };
    let missing: String = [("username", username), ("password", password)]
        .into_iter()
        .filter_map(|(name, value)| value.is_empty().then_some(name))
        .collect();
    if !missing.is_empty() {
        return Ok(if is_page {
            again(StatusCode::BAD_REQUEST, "Enter your name and your password.")
        } else {
            form::bad(&missing)
        });
    }
    match sign_in(&app, &parts.headers, client, username, password).await {
        Ok(signed_in) => welcome(&app, &signed_in, is_page.then(|| next::local(field("next")))),
        Err(error) => match error.code {
            Code::WrongCredentials | Code::InvalidAccount | Code::InvalidField => Ok(if is_page {
                again(StatusCode::FORBIDDEN, "Name and password do not belong together.")
            } else {
                plain(StatusCode::FORBIDDEN, "")
            }),
            _ => Err(error.into()),
        },
    }
}

/// Begins a session for the browser, or whatever keeps cookies like one.
pub async fn sign_in(
    app: &App,
    headers: &HeaderMap,
    client: ClientAddress,
    login: &str,
    password: &str,
) -> crate::error::Result<SignedIn> {
    let request = CreateSessionRequest {
        login: login.to_owned(),
        password: password.to_owned(),
        kind: SessionKind::Web.into(),
        device_name: device::name(headers),
        client_address: client.0,
        lifetime: Some(prost_types::Duration { seconds: cookie::LIFETIME, nanos: 0 }),
        ..CreateSessionRequest::default()
    };
    sessions::create(&app.upstreams, request).await
}

/// The answer with the cookie: nothing else for programs, the way on for people.
pub fn welcome(app: &App, signed_in: &SignedIn, next: Option<&str>) -> Result {
    let mut response = match next {
        Some(next) => redirect(StatusCode::SEE_OTHER, next),
        None => StatusCode::OK.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(http::header::CACHE_CONTROL, NO_STORE);
    headers.insert(SET_COOKIE, cookie::set(app, &signed_in.handle)?);
    Ok(response)
}

/// `/account/login-done`.
pub async fn done(State(app): State<App>, headers: HeaderMap) -> Result {
    let caller = cookie::caller(&app, &headers).await?;
    let text = "Your files and your buffer are at hand.";
    Ok(html(StatusCode::OK, &Message { nav: Nav::of(caller.as_ref(), ""), title: "You are logged in", text }))
}
