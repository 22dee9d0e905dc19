//! `GET /files/{id}`: the file.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use holdall_proto::metadata::v1::LinkForm;
use http::{HeaderMap, Method};

use super::failure::Failure;
use super::{file, store};
use crate::App;
use crate::error::Result;
use crate::ops::links;
use crate::transfer::download::{self, Asked};

/// Sends the file, to be saved, as the type that it was stored with.
pub async fn read(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let sent = async {
        store::admit(&app, &headers).await?;
        let opened = links::open(&app.upstreams, file::id(path)?, LinkForm::Hex, false).await?;
        let opened = links::content(opened)?;
        let asked = Asked { method: &method, headers: &headers, attachment: true };
        download::respond_as_stored(&app.upstreams, opened, asked).await
    };
    sent.await.map_err(|error| Failure(error.of_read()))
}
