//! File Uploader: `/api`, `/file/{id}`, `/f/{id}`.
//!
//! ```text
//! accounts   register, log in, refresh, log out
//! upload     take a file, with an account or without
//! files      give it, delete it, list those of an account
//! sharex     what ShareX needs to know
//! member     who sends a request               limits    how often they may
//! token      access tokens                     answer    what is said, and how failures are
//! facts      names, types, sizes and dates as this API tells them
//! ```
//!
//! A file is a node that is reached by a link of the form `CODE`: its slug is the `file_url`, its delete key the `key`. Files of
//! an account are in its folder `Uploads`; those of nobody are in the root of a space of the installation's own, and gone after
//! some time.

mod accounts;
mod answer;
mod facts;
mod files;
mod limits;
mod member;
mod query;
mod sharex;
mod token;
mod upload;

use axum::Router;
use axum::routing::{get, post};

use crate::App;

pub use answer::failure;
pub use token::Tokens;

/// The routes.
pub fn routes() -> Router<App> {
    let delete = get(files::delete).post(files::delete).delete(files::delete);
    Router::new()
        .route("/api", get(answer::about))
        .route("/api/", get(answer::about))
        .route("/api/upload", post(upload::upload))
        .route("/api/upload/private", post(upload::upload))
        .route("/api/delete/{id}", delete)
        .route("/api/register", post(accounts::register))
        .route("/api/login", post(accounts::login))
        .route("/api/refresh_token", post(accounts::refresh))
        .route("/api/logout", post(accounts::logout))
        .route("/api/get_files", get(files::list))
        .route("/api/get_files/private", get(files::list))
        .route("/api/getFiles", get(files::list))
        .route("/file/{id}", get(files::open))
        .route("/file/{id}/", get(files::open))
        .route("/f/{id}", get(files::open))
        .route("/f/{id}/", get(files::open))
        .route("/uploaders/{file}", get(sharex::configuration))
}
