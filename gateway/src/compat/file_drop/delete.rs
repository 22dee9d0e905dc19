//! `DELETE /files/{id}`: deletes the file for good.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::json;

use super::failure::{Failure, no_file};
use super::{file, store};
use crate::App;
use crate::error::Code;
use crate::ops::nodes;

/// Deletes the file, and its id with it.
pub async fn delete(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    store::admit(&app, &headers).await?;
    let id = file::id(path)?;
    let keeper = store::keeper(&app).await?;
    let (_, node) = file::find(&app, &keeper, id, no_file).await?;
    match nodes::trash(&app.upstreams, &keeper, nodes::by_id(node.node_id), None).await {
        // Somebody else was faster.
        Err(error) if error.code == Code::NotFound => return Err(no_file().into()),
        deleted => deleted?,
    };
    Ok(Json(json!({ "message": "File deleted successfully" })).into_response())
}
