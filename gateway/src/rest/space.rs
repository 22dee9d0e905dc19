//! `/space`.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::problem::Result;
use crate::App;
use crate::ops::{Caller, nodes};

/// The caller's tree of files, with its quota.
#[derive(Serialize, ToSchema)]
pub struct Space<'a> {
    /// UUID.
    space_id: &'a str,
    /// Whose it is.
    owner_account_id: &'a str,
    /// The folder that everything is in; `root` stands for it in URLs.
    root_node_id: &'a str,
    /// The most bytes that it may hold.
    quota_bytes: u64,
    /// Bytes of all versions of all files, the trash included.
    used_bytes: u64,
    /// Bytes that uploads under way have reserved.
    reserved_bytes: u64,
    /// The number of the latest change; 0 before the first.
    change_sequence: u64,
}

/// Reads the caller's space.
#[utoipa::path(
    get, path = "/space", tag = "space", operation_id = "get_space",
    responses((status = 200, description = "The space.", body = Space)),
)]
pub async fn get(State(app): State<App>, caller: Caller) -> Result {
    let space = nodes::space(&app.upstreams, &caller).await?;
    let body = Space {
        space_id: &space.space_id,
        owner_account_id: &space.owner_account_id,
        root_node_id: &space.root_node_id,
        quota_bytes: space.quota_bytes,
        used_bytes: space.used_bytes,
        reserved_bytes: space.reserved_bytes,
        change_sequence: space.change_sequence,
    };
    Answer::json(StatusCode::OK, &body)?.send()
}
