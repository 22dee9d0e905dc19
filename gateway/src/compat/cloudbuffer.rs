//! CloudBuffer: `/account/…`, `/file/load`, `/file/get`, `/file/buffer`.
//!
//! Half of it is for people, who look at pages, and half for programs, which look at statuses. Forms on our own pages say
//! so with a field `page`: they are answered with pages and redirects, everything else as the API always did.

mod buffer;
mod clipboard;
mod form;
mod get;
mod load;
mod login;
mod logout;
mod profile;
mod register;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::App;
use crate::error::Error;
use crate::ops::Caller;
use crate::web::{self, cookie};

/// The routes, each with and without a slash at its end.
pub fn routes() -> Router<App> {
    let routes: [(&str, MethodRouter<App>); 12] = [
        ("/account/login", get(login::page).post(login::submit)),
        // The way it was documented, and the way it was meant.
        ("/account/registet", get(register::page).post(register::submit)),
        ("/account/register", get(register::page).post(register::submit)),
        ("/account/profile", get(profile::page)),
        ("/account/logout", get(logout::page).post(logout::submit)),
        ("/account/login-done", get(login::done)),
        ("/account/register-done", get(register::done)),
        ("/account/logout-done", get(logout::done)),
        ("/account/buffer", get(clipboard::page).post(clipboard::submit)),
        ("/file/load", get(load::page).post(load::submit)),
        ("/file/get", get(get::file)),
        ("/file/buffer", get(buffer::get).post(buffer::put)),
    ];
    let router = Router::new();
    // Was never more than a word in the original.
    let register: MethodRouter<App> = any(async || StatusCode::BAD_REQUEST);
    routes.into_iter().chain([("/file/register", register)]).fold(router, |router, (path, methods)| {
        router.route(path, methods.clone()).route(&format!("{path}/"), methods)
    })
}

/// A failed request, as this API tells it: with a page.
pub fn failure(error: &Error) -> Response {
    web::Failure::of_write(error.clone()).into_response()
}

/// Any answer but the one that was asked for.
struct Refused(Box<Response>);

impl From<Response> for Refused {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        failure(&error).into()
    }
}

impl From<crate::error::Code> for Refused {
    fn from(code: crate::error::Code) -> Self {
        Error::from(code).into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

type Result<T = Response, E = Refused> = std::result::Result<T, E>;

/// The caller; whoever is not signed in is sent to do that first.
async fn member(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<Caller> {
    match cookie::caller(app, headers).await? {
        Some(caller) => Ok(caller),
        None => Err(redirect(StatusCode::FOUND, &format!("/account/login?next={}", uri.path())).into()),
    }
}

fn redirect(status: StatusCode, to: &str) -> Response {
    let mut response = status.into_response();
    let to = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// An answer for programs.
fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

const NO_STORE: HeaderValue = HeaderValue::from_static("private, no-store");

/// How long files and the buffer stay.
fn time_to_live(app: &App) -> prost_types::Duration {
    prost_types::Duration { seconds: app.compat.cloudbuffer.expire_seconds.into(), nanos: 0 }
}

/// The same for people.
fn stay(app: &App) -> String {
    web::span(app.compat.cloudbuffer.expire_seconds.into())
}

/// The time from now until then for people, in minutes begun.
fn left(app: &App, until: Option<&prost_types::Timestamp>) -> String {
    let us = until.and_then(holdall_proto::unix_us).unwrap_or_default().saturating_sub(app.clock.now());
    let seconds = Duration::from_micros(u64::try_from(us).unwrap_or_default()).as_secs();
    web::span((seconds / 60 + 1).saturating_mul(60))
}
