//! `POST /files/upload`: stores a file.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use holdall_proto::metadata::v1::{LinkForm, LinkOptions, UpdateLinkRequest};
use http::StatusCode;
use serde_json::json;
use uuid::Uuid;

use super::failure::{Failure, no_content};
use super::{incoming, store};
use crate::App;
use crate::error::Code;
use crate::ops::content::{self, Upload};
use crate::ops::links;
use crate::transfer::{multipart, upload};

/// Stores a file and answers with its id.
pub async fn upload(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    store::admit(&app, &parts.headers).await?;
    upload::check(&parts.headers)?;
    let file = match multipart::boundary(&parts.headers).map_err(|_| no_content())? {
        Some(boundary) => incoming::of_form(boundary, body).await?.file,
        None => incoming::of_body(&parts.uri, &parts.headers, body).await?,
    };
    let file = file.ok_or_else(no_content)?;
    let keeper = store::keeper(&app).await?;
    let folder = store::folder(&app, &keeper).await?;
    let is_named = file.name.is_some();
    let link = LinkOptions {
        form: LinkForm::Hex.into(),
        file_name: file.name.unwrap_or_default(),
        ..LinkOptions::default()
    };
    let upload = Upload {
        target: content::to_child(folder, Uuid::now_v7().to_string()),
        size: file.size,
        media_type: file.media_type,
        precondition: None,
        idempotency_key: String::new(),
        link: Some(link),
    };
    let uploaded = content::upload(&app.upstreams, &keeper, upload, file.content).await?;
    let link = uploaded.link.ok_or(Code::BadGateway)?;
    if !is_named {
        // Only now is the id known, which a file without a name is called by. Lists say it in any case.
        let request = UpdateLinkRequest {
            link_id: link.link_id,
            file_name: Some(link.slug.clone()),
            ..UpdateLinkRequest::default()
        };
        if let Err(error) = links::update(&app.upstreams, &keeper, request).await {
            tracing::warn!(code = error.entry().name, "a file without a name did not get its id for one");
        }
    }
    let answer = Json(json!({ "fileId": link.slug, "file_id": link.slug }));
    Ok((StatusCode::CREATED, answer).into_response())
}
