//! `/account/logout`.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};

use super::{Result, form, redirect};
use crate::App;
use crate::ops::sessions;
use crate::web::{Message, Nav, cookie, html, html_with_form, origin};

#[derive(Template)]
#[template(path = "logout.html")]
struct Logout<'a> {
    nav: Nav,
    name: &'a str,
}

/// Asks first. Whoever is not signed in is told so.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result {
    let Some(caller) = cookie::caller(&app, &headers).await? else {
        return Ok(redirect(StatusCode::FOUND, "/account/logout-done"));
    };
    let page = Logout { nav: Nav::of(Some(&caller), "/account/logout"), name: &caller.account().username };
    Ok(html_with_form(StatusCode::OK, &page))
}

/// Ends the session of the cookie, and takes the cookie away.
pub async fn submit(State(app): State<App>, request: Request) -> Result {
    let (parts, body) = request.into_parts();
    origin::check(&app, &parts.uri, &parts.headers)?;
    let is_page = form::is_page(&form::read(&parts.headers, body).await?);
    if let Some(caller) = cookie::caller(&app, &parts.headers).await? {
        sessions::revoke(&app.upstreams, &caller, String::new()).await?;
    }
    let mut response = if is_page {
        redirect(StatusCode::SEE_OTHER, "/account/logout-done")
    } else {
        StatusCode::OK.into_response()
    };
    response.headers_mut().insert(SET_COOKIE, cookie::clear(&app)?);
    Ok(response)
}

/// `/account/logout-done`.
pub async fn done(State(app): State<App>, headers: HeaderMap) -> Result {
    let caller = cookie::caller(&app, &headers).await?;
    let nav = Nav::of(caller.as_ref(), "");
    let message = if caller.is_some() {
        Message { nav, title: "You are logged in", text: "Log out at the top of the page when you are done." }
    } else {
        Message { nav, title: "You are logged out", text: "This device can no longer see your files." }
    };
    Ok(html(StatusCode::OK, &message))
}
