//! SyncFile: accounts, folders, files and short download links under `/v1`.
//!
//! The status is always 200; what became of a call stands in the `error_code` of the answer. Only a short link itself,
//! which browsers open, answers with statuses. An `authid` is the handle of a session, in the form of a UUID.

mod accounts;
mod answer;
mod boundary;
mod details;
mod file;
mod folder;
mod link;
mod list;
mod parameters;
mod path;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::App;
use crate::error::Error;
use answer::Refusal;

/// The routes. The original looked neither at the method of most calls nor at a slash at the end.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1", get(index))
        .route("/v1/", get(index))
        .route("/v1/userRegister", any(accounts::register))
        .route("/v1/userRegister/", any(accounts::register))
        .route("/v1/getAuthID", any(accounts::sign_in))
        .route("/v1/getAuthID/", any(accounts::sign_in))
        .route("/v1/isAuthAlive", any(accounts::is_alive))
        .route("/v1/isAuthAlive/", any(accounts::is_alive))
        .route("/v1/folder", any(folder::call))
        .route("/v1/folder/", any(folder::call))
        .route("/v1/file", any(file::call))
        .route("/v1/file/", any(file::call))
        .route("/v1/f", get(link::download))
        .route("/v1/f/", get(link::download))
}

async fn index() -> &'static str {
    "index"
}

/// A failed request, as this API tells it.
pub fn failure(error: &Error) -> Response {
    Refusal::from(error.clone()).into_response()
}
