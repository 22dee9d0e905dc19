//! `/trash`.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::extract::{Parameters, Path};
use super::nodes::{Nodes, page_of_nodes};
use super::page::PageQuery;
use super::problem::Result;
use crate::App;
use crate::ops::{Caller, nodes};

/// Lists what was put into the trash, the latest first.
#[utoipa::path(
    get, path = "/trash", tag = "trash", operation_id = "list_trash", params(PageQuery),
    responses(
        (status = 200, description = "A page.", body = Nodes),
        (status = 400, description = "invalid_cursor"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Result {
    let page = nodes::list_trash(&app.upstreams, &caller, query.page()?).await?;
    page_of_nodes(&page.nodes, &page.next_page_token)
}

/// What was deleted for good.
#[derive(Serialize, ToSchema)]
pub struct Purged {
    /// How many nodes, counting those below.
    purged_nodes: u64,
}

/// Deletes everything in the trash for good.
#[utoipa::path(
    delete, path = "/trash", tag = "trash", operation_id = "empty_trash",
    responses((status = 200, description = "What was deleted.", body = Purged)),
)]
pub async fn empty(State(app): State<App>, caller: Caller) -> Result {
    purge_named(&app, &caller, String::new()).await
}

/// Deletes one node of the trash, with all below it, for good.
#[utoipa::path(
    delete, path = "/trash/{id}", tag = "trash", operation_id = "purge_node",
    params(("id" = String, Path, description = "The node.")),
    responses(
        (status = 200, description = "What was deleted.", body = Purged),
        (status = 404, description = "not_found"),
        (status = 409, description = "not_trashed"),
    ),
)]
pub async fn purge(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result {
    purge_named(&app, &caller, id).await
}

async fn purge_named(app: &App, caller: &Caller, id: String) -> Result {
    let purged_nodes = nodes::purge(&app.upstreams, caller, id).await?;
    Answer::json(StatusCode::OK, &Purged { purged_nodes })?.send()
}
