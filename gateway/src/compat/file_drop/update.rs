//! `PUT /files/{id}`: replaces the file, what it is called, or both.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use holdall_proto::metadata::v1::UpdateLinkRequest;
use http::request::Parts;
use serde_json::json;

use super::failure::{Failure, no_file_to_update, no_update};
use super::incoming::{self, Incoming, Posted};
use super::{file, name, store};
use crate::App;
use crate::error::Result;
use crate::ops::content::{self, Upload};
use crate::ops::{Caller, links};
use crate::transfer::fields::{Fields, is_json, is_of_type};
use crate::transfer::{multipart, upload};

/// Replaces content, type and name by those of a new file, or the name alone. A name of its own goes before that of the
/// file. The name changes last, so what fails can be repeated.
pub async fn update(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    store::admit(&app, &parts.headers).await?;
    let id = file::id(path)?;
    let keeper = store::keeper(&app).await?;
    let (link, node) = file::find(&app, &keeper, id, no_file_to_update).await?;

    let Posted { file, texts, rest } = posted(&parts, body).await?;
    let mut given = name::in_fields(&texts);
    let mut of_file = None;
    match file {
        Some(file) => {
            of_file = file.name.clone();
            replace(&app, &keeper, node.node_id, file).await?;
            given = given.or_else(|| name::in_fields(&Fields(rest.take())));
        }
        None if given.is_none() => return Err(no_update().into()),
        None => {}
    }
    if let Some(name) = given.or(of_file).filter(|name| *name != link.file_name) {
        let request = UpdateLinkRequest {
            link_id: link.link_id,
            file_name: Some(name),
            ..UpdateLinkRequest::default()
        };
        links::update(&app.upstreams, &keeper, request).await?;
    }
    Ok(Json(json!({ "message": "File updated successfully" })).into_response())
}

/// What was sent: a form, fields alone, or a body that is the file itself.
async fn posted(parts: &Parts, body: Body) -> Result<Posted> {
    let headers = &parts.headers;
    upload::check(headers)?;
    if let Some(boundary) = multipart::boundary(headers).map_err(|_| no_update())? {
        return incoming::of_form(boundary, body).await;
    }
    let texts = if is_json(headers) || is_of_type(headers, "application/x-www-form-urlencoded") {
        Fields::read(headers, body).await.map_err(|_| no_update())?
    } else {
        if let Some(file) = incoming::of_body(&parts.uri, headers, body).await? {
            return Ok(Posted { file: Some(file), ..Posted::default() });
        }
        Fields::default()
    };
    let texts = match name::in_fields(&texts) {
        Some(_) => texts,
        None => Fields::urlencoded(parts.uri.query().unwrap_or_default().as_bytes()),
    };
    Ok(Posted { texts, ..Posted::default() })
}

async fn replace(app: &App, keeper: &Caller, node_id: String, file: Incoming) -> Result<()> {
    let upload = Upload {
        target: content::to_node(node_id),
        size: file.size,
        media_type: file.media_type,
        precondition: None,
        idempotency_key: String::new(),
        link: None,
    };
    content::upload(&app.upstreams, keeper, upload, file.content).await.map(drop)
}
