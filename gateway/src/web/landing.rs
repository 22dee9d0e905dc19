//! The front page.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::{Nav, cookie, html_with_form, span};
use crate::App;

/// The front page.
#[derive(Template)]
#[template(path = "landing.html")]
struct Landing<'a> {
    nav: Nav,
    /// Of whoever is signed in.
    name: Option<&'a str>,
    /// How long what is handed over stays.
    stay: String,
    /// Where this server is, for examples.
    base: String,
}

/// `/`: what this is, and the way to everything. Anything that fails is left out: the page is there even when no service is.
pub async fn landing(State(app): State<App>, uri: http::Uri, headers: HeaderMap) -> Response {
    let pages = app.compat.cloudbuffer.enabled;
    let caller = if pages { cookie::caller(&app, &headers).await.unwrap_or_default() } else { None };
    let page = Landing {
        nav: if pages { Nav::of(caller.as_ref(), "/") } else { Nav::PLAIN },
        name: caller.as_ref().map(|caller| caller.account().username.as_str()),
        stay: span(app.compat.cloudbuffer.expire_seconds.into()),
        base: app.base_url(&uri, &headers).unwrap_or_default(),
    };
    html_with_form(StatusCode::OK, &page)
}
