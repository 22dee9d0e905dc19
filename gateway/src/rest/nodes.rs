//! `/nodes`.

use std::sync::Arc;

use axum::extract::State;
use holdall_proto::metadata::v1::{
    self as metadata, ListChildrenRequest, ListChildrenResponse, ListOrder, NodeKind, NodeRef,
    RestoreNodeRequest, UpdateNodeRequest,
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::answer::{self, Answer};
use super::extract::{Json, MaybeJson, Parameters, Path};
use super::page::{self, PageQuery};
use super::policy::Policy;
use super::problem::Result;
use super::time::Time;
use crate::App;
use crate::error;
use crate::ops::{Caller, nodes};
use crate::transfer::etag;

/// Stands for the root of the caller's space wherever the id of a node is asked for.
const ROOT: &str = "root";
/// Bytes of JSON that a node comes to, names of middle length included.
const NODE_JSON: usize = 768;

/// Folder or file.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeKind)]
pub enum Kind {
    /// Has children and no content.
    Folder,
    /// Has content and no children.
    File,
}

/// A folder or file.
#[derive(Serialize, ToSchema)]
pub struct Node<'a> {
    /// UUID; stays the same through renames and moves.
    node_id: &'a str,
    /// The space it is in.
    space_id: &'a str,
    /// The folder it is in; null for the root.
    parent_id: Option<&'a str>,
    /// At most 255 bytes of UTF-8 in NFC; empty for the root.
    #[schema(example = "notes.txt")]
    name: &'a str,
    /// Folder or file.
    kind: Kind,
    /// Names this state of name, place and content; for `If-Match` when changing the node.
    etag: &'a str,
    /// When it was made.
    created_at: Time,
    /// When name, place or content changed last.
    modified_at: Time,
    /// When it was put into the trash; null for live nodes.
    trashed_at: Option<Time>,
    /// The current content; null for folders.
    version: Option<Version<'a>>,
    /// From then on the file is gone; left out when there is no such time.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    /// What the folder does with the files directly in it; left out when that is nothing special.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
}

/// Content of a file at one time. Never changes.
#[derive(Serialize, ToSchema)]
pub struct Version<'a> {
    /// UUID.
    version_id: &'a str,
    /// Bytes of content.
    size: u64,
    /// BLAKE3-256 of the content in hexadecimal.
    #[schema(value_type = String, example = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")]
    digest: Hex<'a>,
    /// Media type, as uploaded or guessed from the name.
    #[schema(example = "text/plain")]
    media_type: &'a str,
    /// Who wrote it.
    author_account_id: &'a str,
    /// The device it came from; may be empty.
    device: &'a str,
    /// When it was written.
    created_at: Time,
    /// The entity tag of the content: equal content has an equal one.
    content_etag: &'a str,
}

struct Hex<'a>(&'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut buffer = [0; 64];
        match hex::encode_to_slice(self.0, &mut buffer).ok().and_then(|()| std::str::from_utf8(&buffer).ok())
        {
            Some(text) => serializer.serialize_str(text),
            // Of another length than a digest.
            None => serializer.serialize_str(&hex::encode(self.0)),
        }
    }
}

impl<'a> From<&'a metadata::Node> for Node<'a> {
    fn from(node: &'a metadata::Node) -> Self {
        Self {
            node_id: &node.node_id,
            space_id: &node.space_id,
            parent_id: Some(node.parent_id.as_str()).filter(|id| !id.is_empty()),
            name: &node.name,
            kind: if node.kind() == NodeKind::Folder { Kind::Folder } else { Kind::File },
            etag: &node.etag,
            created_at: Time::from(&node.created_at),
            modified_at: Time::from(&node.modified_at),
            trashed_at: node.trashed_at.map(Time),
            version: node.version.as_ref().map(Version::from),
            expires_at: node.expires_at.map(Time),
            policy: node.policy.as_ref().map(Policy::from),
        }
    }
}

impl<'a> From<&'a metadata::Version> for Version<'a> {
    fn from(version: &'a metadata::Version) -> Self {
        Self {
            version_id: &version.version_id,
            size: version.size,
            digest: Hex(&version.digest),
            media_type: &version.media_type,
            author_account_id: &version.author_account_id,
            device: &version.device,
            created_at: Time::from(&version.created_at),
            content_etag: &version.content_etag,
        }
    }
}

/// A page of nodes.
#[derive(Serialize, ToSchema)]
pub struct Nodes<'a> {
    /// In the order asked for.
    #[serde(serialize_with = "each_node")]
    #[schema(value_type = Vec<Node>)]
    items: &'a [metadata::Node],
    /// Null on the last page.
    next_cursor: Option<&'a str>,
}

fn each_node<S: Serializer>(
    items: &&[metadata::Node],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(Node::from))
}

/// A page of nodes as an answer.
pub fn page_of_nodes(nodes: &[metadata::Node], next_page_token: &str) -> Result {
    let body = Nodes { items: nodes, next_cursor: page::next(next_page_token) };
    Answer::large_json(StatusCode::OK, &body, 128 + nodes.len() * NODE_JSON)?.send()
}

/// A node as an answer.
pub fn node(status: StatusCode, node: &metadata::Node) -> Result<Answer> {
    Answer::json(status, &Node::from(node))?.etag(&node.etag)
}

/// A new folder as an answer.
pub fn created(made: &metadata::Node) -> Result<Answer> {
    node(StatusCode::CREATED, made)?.location(&format!("/nodes/{}", made.node_id))
}

/// The node that an id in a URL names, for calls that take the root for it when told nothing.
pub fn named(id: String) -> NodeRef {
    if id == ROOT { nodes::ROOT } else { nodes::by_id(id) }
}

/// The id of that node, for calls that ask for one.
pub async fn id_of(app: &App, caller: &Caller, id: String) -> error::Result<String> {
    if id == ROOT { Ok(nodes::space(&app.upstreams, caller).await?.root_node_id) } else { Ok(id) }
}

/// Reads a node.
#[utoipa::path(
    get, path = "/nodes/{id}", tag = "nodes", operation_id = "get_node",
    params(("id" = String, Path, description = "The node, or `root`.")),
    responses(
        (status = 200, description = "The node.", body = Node, headers(("ETag" = String, description = "Its `etag`."))),
        (status = 404, description = "not_found"),
    ),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result {
    let found = nodes::get(&app.upstreams, &caller, named(id)).await?;
    node(StatusCode::OK, &found)?.send()
}

/// What to change about a node; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeChange {
    /// The new name.
    name: Option<String>,
    /// The folder to move to, or `root`.
    parent_id: Option<String>,
}

/// Renames a node, moves it, or both at once.
#[utoipa::path(
    patch, path = "/nodes/{id}", tag = "nodes", operation_id = "update_node",
    params(
        ("id" = String, Path, description = "The node."),
        ("If-Match" = Option<String>, Header, description = "Only if the node has this `etag`."),
    ),
    request_body = NodeChange,
    responses(
        (status = 200, description = "The node as it is now.", body = Node, headers(("ETag" = String, description = "Its `etag`."))),
        (status = 404, description = "not_found"),
        (status = 409, description = "name_conflict, would_cycle, not_a_folder, root_immutable"),
        (status = 412, description = "precondition_failed"),
        (status = 422, description = "invalid_name"),
    ),
)]
pub async fn update(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(NodeChange { name, parent_id }): Json<NodeChange>,
) -> Result {
    let precondition = etag::precondition(&headers)?;
    let node_id = id_of(&app, &caller, id).await?;
    let parent_id = match parent_id {
        Some(parent) => Some(id_of(&app, &caller, parent).await?),
        None => None,
    };
    let request = UpdateNodeRequest { node_id, name, parent_id, precondition, keep_both: false };
    node(StatusCode::OK, &nodes::update(&app.upstreams, &caller, request).await?)?.send()
}

/// Puts a node, with all below it, into the trash.
#[utoipa::path(
    delete, path = "/nodes/{id}", tag = "nodes", operation_id = "trash_node",
    params(
        ("id" = String, Path, description = "The node."),
        ("If-Match" = Option<String>, Header, description = "Only if the node has this `etag`."),
    ),
    responses(
        (status = 204, description = "It is in the trash."),
        (status = 404, description = "not_found"),
        (status = 409, description = "root_immutable"),
        (status = 412, description = "precondition_failed"),
    ),
)]
pub async fn trash(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result {
    let precondition = etag::precondition(&headers)?;
    let id = id_of(&app, &caller, id).await?;
    nodes::trash(&app.upstreams, &caller, nodes::by_id(id), precondition).await?;
    answer::nothing()
}

/// How a folder is listed.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By the bytes of the name.
    #[default]
    Name,
    /// By the time of the last change.
    Modified,
}

/// Which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The smallest or oldest first.
    #[default]
    Asc,
    /// The largest or newest first.
    Desc,
}

/// Which page of a folder, in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before, of the same folder and order; leave out for the first page.
    pub cursor: Option<String>,
    /// The order.
    #[param(inline)]
    pub order: Option<Order>,
    /// Which way.
    #[param(inline)]
    pub direction: Option<Direction>,
}

/// A page of the children of `folder`.
pub async fn list(
    app: &App,
    caller: &Caller,
    folder: NodeRef,
    query: ListQuery,
) -> error::Result<Arc<ListChildrenResponse>> {
    let order = match query.order.unwrap_or_default() {
        Order::Name => ListOrder::Name,
        Order::Modified => ListOrder::Modified,
    };
    let request = ListChildrenRequest {
        folder: Some(folder),
        order: order.into(),
        descending: query.direction == Some(Direction::Desc),
        page_size: page::size(query.limit)?,
        page_token: query.cursor.unwrap_or_default(),
    };
    nodes::children(&app.upstreams, caller, request).await
}

/// Lists a folder.
#[utoipa::path(
    get, path = "/nodes/{id}/children", tag = "nodes", operation_id = "list_children",
    params(("id" = String, Path, description = "The folder, or `root`."), ListQuery),
    responses(
        (status = 200, description = "A page.", body = Nodes),
        (status = 400, description = "invalid_cursor"),
        (status = 404, description = "not_found"),
        (status = 409, description = "not_a_folder"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn children(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(query): Parameters<ListQuery>,
) -> Result {
    let page = list(&app, &caller, named(id), query).await?;
    page_of_nodes(&page.children, &page.next_page_token)
}

/// Lists the folders above a node, the root first, the parent last.
#[utoipa::path(
    get, path = "/nodes/{id}/ancestors", tag = "nodes", operation_id = "list_ancestors",
    params(("id" = String, Path, description = "The node, or `root`.")),
    responses(
        (status = 200, description = "All of them; there are no further pages.", body = Nodes),
        (status = 404, description = "not_found"),
    ),
)]
pub async fn ancestors(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result {
    let id = id_of(&app, &caller, id).await?;
    page_of_nodes(&nodes::ancestors(&app.upstreams, &caller, id).await?, "")
}

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub struct Versions<'a> {
    /// The newest first.
    items: Vec<Version<'a>>,
    /// Null on the last page.
    next_cursor: Option<&'a str>,
}

/// Lists the versions of a file, the newest first.
#[utoipa::path(
    get, path = "/nodes/{id}/versions", tag = "nodes", operation_id = "list_versions",
    params(("id" = String, Path, description = "The file."), PageQuery),
    responses(
        (status = 200, description = "A page.", body = Versions),
        (status = 400, description = "invalid_cursor"),
        (status = 404, description = "not_found"),
        (status = 409, description = "not_a_file"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn versions(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(query): Parameters<PageQuery>,
) -> Result {
    let page = query.page()?;
    let id = id_of(&app, &caller, id).await?;
    let page = nodes::versions(&app.upstreams, &caller, id, page).await?;
    let items = page.versions.iter().map(Version::from).collect();
    Answer::json(StatusCode::OK, &Versions { items, next_cursor: page::next(&page.next_page_token) })?.send()
}

/// Where a node comes back to; what is left out is as it was.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restoration {
    /// The folder, or `root`.
    parent_id: Option<String>,
    /// The name.
    name: Option<String>,
}

/// Takes a node out of the trash.
#[utoipa::path(
    post, path = "/nodes/{id}/restore", tag = "trash", operation_id = "restore_node",
    params(("id" = String, Path, description = "The node.")),
    request_body = Option<Restoration>,
    responses(
        (status = 200, description = "The live node.", body = Node, headers(("ETag" = String, description = "Its `etag`."))),
        (status = 404, description = "not_found"),
        (status = 409, description = "name_conflict, not_trashed, not_a_folder"),
        (status = 422, description = "invalid_name"),
    ),
)]
pub async fn restore(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    MaybeJson(Restoration { parent_id, name }): MaybeJson<Restoration>,
) -> Result {
    let parent_id = match parent_id {
        Some(parent) => Some(id_of(&app, &caller, parent).await?),
        None => None,
    };
    let node_id = id_of(&app, &caller, id).await?;
    let request = RestoreNodeRequest { node_id, parent_id, name };
    node(StatusCode::OK, &nodes::restore(&app.upstreams, &caller, request).await?)?.send()
}
