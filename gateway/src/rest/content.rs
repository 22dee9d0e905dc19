//! Content by node: `/nodes/{id}/content` and `/folders/{id}/files/{name}`.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use holdall_proto::metadata::v1::UploadTarget;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::Answer;
use super::extract::{IdempotencyKey, Parameters, Path};
use super::nodes::{Node, id_of};
use super::problem::Result;
use crate::App;
use crate::ops::content::{self, Upload};
use crate::ops::{Caller, nodes};
use crate::transfer::download::{self, Asked};
use crate::transfer::upload::{self, Pieces};
use crate::transfer::{etag, media_type};

/// Which content, and how.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ContentQuery {
    /// A version of the file; the current one when left out.
    version: Option<String>,
    /// `1` to have it saved even where a browser could show it.
    download: Option<String>,
}

/// Whether the query asks for content to be saved.
pub fn wants_attachment(download: Option<&str>) -> bool {
    download.is_some_and(|value| value != "0" && value != "false")
}

/// Reads the content of a file.
///
/// One range is served; several at once are answered with the whole content. Content that a browser could run is never
/// sent as what it claims to be.
#[utoipa::path(
    method(get, head), path = "/nodes/{id}/content", tag = "content", operation_id = "read_content",
    params(
        ("id" = String, Path, description = "The file."),
        ContentQuery,
        ("Range" = Option<String>, Header, description = "One range of bytes (RFC 9110, §14)."),
        ("If-Range" = Option<String>, Header, description = "The range only if the content has this entity tag."),
        ("If-Match" = Option<String>, Header, description = "Only if the content has one of these entity tags."),
        ("If-None-Match" = Option<String>, Header, description = "Only if the content has none of these entity tags."),
    ),
    responses(
        (status = 200, description = "The content.", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String, description = "The entity tag of the content."))),
        (status = 206, description = "A part of it.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The content is the one that the client has."),
        (status = 404, description = "not_found"),
        (status = 409, description = "not_a_file"),
        (status = 412, description = "precondition_failed"),
        (status = 416, description = "range_not_satisfiable"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(query): Parameters<ContentQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result {
    let version = query.version.unwrap_or_default();
    let id = id_of(&app, &caller, id).await?;
    let opened = content::open(&app.upstreams, &caller, nodes::by_id(id), version).await?;
    let attachment = wants_attachment(query.download.as_deref());
    Ok(download::respond(&app.upstreams, opened, Asked { method: &method, headers: &headers, attachment })
        .await?)
}

/// Writes the content of a file that exists: a new version.
#[utoipa::path(
    put, path = "/nodes/{id}/content", tag = "content", operation_id = "write_content",
    params(
        ("id" = String, Path, description = "The file."),
        ("If-Match" = Option<String>, Header, description = "Only if the content has one of these entity tags."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key and content changes nothing."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The file as it is now.", body = Node,
            headers(("ETag" = String, description = "The entity tag of the content."))),
        (status = 400, description = "truncated_body"),
        (status = 404, description = "not_found"),
        (status = 408, description = "timeout"),
        (status = 409, description = "not_a_file, upload_expired"),
        (status = 412, description = "precondition_failed"),
        (status = 413, description = "too_large"),
        (status = 415, description = "unsupported_media_type"),
        (status = 422, description = "idempotency_mismatch"),
        (status = 507, description = "quota_exceeded, storage_full"),
    ),
)]
pub async fn write(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result {
    let id = id_of(&app, &caller, id).await?;
    // Without a claim the type is guessed from the name, which only metadata knows.
    let name = match media_type::claimed(headers.get(CONTENT_TYPE)) {
        Some(_) => String::new(),
        None => nodes::get(&app.upstreams, &caller, nodes::by_id(id.clone())).await?.name,
    };
    store(&app, &caller, content::to_node(id), &name, key, &headers, body).await
}

/// Writes a file in a folder: a new file, or a new version of the one with that name.
#[utoipa::path(
    put, path = "/folders/{id}/files/{name}", tag = "content", operation_id = "write_file",
    params(
        ("id" = String, Path, description = "The folder, or `root`."),
        ("name" = String, Path, description = "The name of the file."),
        ("If-Match" = Option<String>, Header, description = "Only if the content has one of these entity tags."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such file yet."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key and content changes nothing."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The file, with a new version.", body = Node,
            headers(("ETag" = String, description = "The entity tag of the content."))),
        (status = 201, description = "The new file.", body = Node,
            headers(("ETag" = String, description = "The entity tag of the content."))),
        (status = 400, description = "truncated_body"),
        (status = 404, description = "not_found"),
        (status = 408, description = "timeout"),
        (status = 409, description = "not_a_folder, not_a_file, upload_expired"),
        (status = 412, description = "precondition_failed"),
        (status = 413, description = "too_large"),
        (status = 415, description = "unsupported_media_type"),
        (status = 422, description = "invalid_name, idempotency_mismatch"),
        (status = 507, description = "quota_exceeded, storage_full"),
    ),
)]
pub async fn write_file(
    State(app): State<App>,
    caller: Caller,
    Path((id, name)): Path<(String, String)>,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result {
    let parent = id_of(&app, &caller, id).await?;
    store(&app, &caller, content::to_child(parent, name.clone()), &name, key, &headers, body).await
}

/// Stores the body of a request as the content of `target`. The type of the content is guessed from `name` when the
/// client claims none.
pub(super) async fn store(
    app: &App,
    caller: &Caller,
    target: UploadTarget,
    name: &str,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    upload::check(headers)?;
    let upload = Upload {
        target,
        size: upload::size(headers)?,
        media_type: media_type::claimed(headers.get(CONTENT_TYPE))
            .unwrap_or_else(|| media_type::guess(name))
            .to_owned(),
        precondition: etag::precondition(headers)?,
        idempotency_key,
        link: None,
    };
    let stored = content::upload(&app.upstreams, caller, upload, Pieces::of(body)).await?;
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = Answer::json(status, &Node::from(&stored.node))?;
    // The tag of what was sent, and so of what GET on this URL gives (RFC 9110, §9.3.4).
    if let Some(version) = &stored.node.version {
        answer = answer.etag(&version.content_etag)?;
    }
    if stored.created {
        answer = answer.location(&format!("/nodes/{}", stored.node.node_id))?;
    }
    answer.send()
}
