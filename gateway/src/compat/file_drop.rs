//! FILE DROP: files that belong to nobody, under `/files`.
//!
//! All files lie in the space of one account of the installation, under names that nobody sees. The id of a file is the
//! slug of its link, and what the file is called is what the link calls it.

mod delete;
mod failure;
mod file;
mod incoming;
mod list;
mod name;
mod read;
mod store;
mod update;
mod upload;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::App;
use crate::error::Error;
use failure::{Failure, no_file};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/files", get(list::list))
        // Never the id of a file.
        .route("/files/upload", post(upload::upload).get(missing).put(missing).delete(missing))
        .route("/files/{id}", get(read::read).put(update::update).delete(delete::delete))
}

async fn missing() -> Failure {
    Failure(no_file())
}

/// A failed request, as this API tells it.
pub fn failure(error: &Error) -> Response {
    Failure(error.clone()).into_response()
}
