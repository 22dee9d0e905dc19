//! `/folders`.

use axum::extract::State;
use holdall_proto::metadata::v1::CreateFolderRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{IdempotencyKey, Json};
use super::nodes::{Node, created, named};
use super::problem::Result;
use crate::App;
use crate::ops::{Caller, nodes};

/// A new folder.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFolder {
    /// Where; the root when left out.
    parent_id: Option<String>,
    /// What to call it.
    #[schema(example = "photos")]
    name: String,
}

/// Makes a folder.
#[utoipa::path(
    post, path = "/folders", tag = "nodes", operation_id = "create_folder",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gives the same folder.")),
    request_body = NewFolder,
    responses(
        (status = 201, description = "The folder.", body = Node, headers(("ETag" = String, description = "Its `etag`."))),
        (status = 404, description = "not_found"),
        (status = 409, description = "name_conflict, not_a_folder"),
        (status = 422, description = "invalid_name, idempotency_mismatch"),
    ),
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(NewFolder { parent_id, name }): Json<NewFolder>,
) -> Result {
    let parent = parent_id.map_or(nodes::ROOT, named);
    let request =
        CreateFolderRequest { parent: Some(parent), name, parents: false, idempotency_key, policy: None };
    let (folder, _) = nodes::create_folder(&app.upstreams, &caller, request).await?;
    created(&folder)?.send()
}
