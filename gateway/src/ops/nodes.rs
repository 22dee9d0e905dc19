//! Folders, files, the trash, and the space they are in.

use std::sync::Arc;

use holdall_proto::metadata::v1::node_ref::Ref;
use holdall_proto::metadata::v1::{
    CreateFolderRequest, EmptySpaceRequest, FindByNameRequest, FindByNameResponse, FolderPolicy,
    GetNodeRequest, GetSpaceRequest, ListAncestorsRequest, ListChildrenRequest, ListChildrenResponse,
    ListTrashRequest, ListTrashResponse, ListVersionsRequest, ListVersionsResponse, Node, NodeRef,
    Precondition, PurgeTrashRequest, RestoreNodeRequest, SetFolderPolicyRequest, Space, TrashNodeRequest,
    UpdateNodeRequest,
};

use super::{Caller, Page, incomplete};
use crate::error::Result;
use crate::upstreams::Upstreams;

/// A node by id.
pub fn by_id(node_id: impl Into<String>) -> NodeRef {
    NodeRef { r#ref: Some(Ref::NodeId(node_id.into())) }
}

/// A node by its path from the root of the caller's space.
pub fn by_path(path: impl Into<String>) -> NodeRef {
    NodeRef { r#ref: Some(Ref::Path(path.into())) }
}

/// The root of the caller's space.
pub const ROOT: NodeRef = NodeRef { r#ref: None };

/// The caller's space.
pub async fn space(upstreams: &Upstreams, caller: &Caller) -> Result<Space> {
    let request = caller.asks(GetSpaceRequest {});
    upstreams.spaces().get_space(request).await?.into_inner().space.ok_or_else(incomplete)
}

/// Deletes everything in the caller's space for good.
pub async fn empty_space(upstreams: &Upstreams, caller: &Caller) -> Result<()> {
    upstreams.spaces().empty_space(caller.asks(EmptySpaceRequest {})).await?;
    Ok(())
}

/// Sets what a folder does with the files directly in it.
pub async fn set_policy(
    upstreams: &Upstreams,
    caller: &Caller,
    folder: NodeRef,
    policy: Option<FolderPolicy>,
) -> Result<Node> {
    let request = SetFolderPolicyRequest { folder: Some(folder), policy, precondition: None };
    let request = caller.asks(request);
    upstreams.nodes().set_folder_policy(request).await?.into_inner().node.ok_or_else(incomplete)
}

/// One live node.
pub async fn get(upstreams: &Upstreams, caller: &Caller, of: NodeRef) -> Result<Node> {
    let request = caller.asks(GetNodeRequest { r#ref: Some(of) });
    upstreams.nodes().get_node(request).await?.into_inner().node.ok_or_else(incomplete)
}

/// A page of a folder.
pub async fn children(
    upstreams: &Upstreams,
    caller: &Caller,
    request: ListChildrenRequest,
) -> Result<Arc<ListChildrenResponse>> {
    Ok(upstreams.children(&caller.account().account_id, caller.asks(request)).await?)
}

/// A page of the nodes with a name, wherever they are, each with its path.
pub async fn find_by_name(
    upstreams: &Upstreams,
    caller: &Caller,
    name: String,
    page: Page,
) -> Result<FindByNameResponse> {
    let request = FindByNameRequest { name, page_size: page.size, page_token: page.token };
    Ok(upstreams.nodes().find_by_name(caller.asks(request)).await?.into_inner())
}

/// The folders above a node, the root first.
pub async fn ancestors(upstreams: &Upstreams, caller: &Caller, node_id: String) -> Result<Vec<Node>> {
    let request = caller.asks(ListAncestorsRequest { node_id });
    Ok(upstreams.nodes().list_ancestors(request).await?.into_inner().ancestors)
}

/// The versions of a file, the newest first.
pub async fn versions(
    upstreams: &Upstreams,
    caller: &Caller,
    node_id: String,
    page: Page,
) -> Result<ListVersionsResponse> {
    let request = ListVersionsRequest { node_id, page_size: page.size, page_token: page.token };
    Ok(upstreams.nodes().list_versions(caller.asks(request)).await?.into_inner())
}

/// Makes a folder; the second value tells whether it is new.
pub async fn create_folder(
    upstreams: &Upstreams,
    caller: &Caller,
    request: CreateFolderRequest,
) -> Result<(Node, bool)> {
    let made = upstreams.nodes().create_folder(caller.asks(request)).await?.into_inner();
    Ok((made.node.ok_or_else(incomplete)?, made.created))
}

/// Renames a node, moves it, or both.
pub async fn update(upstreams: &Upstreams, caller: &Caller, request: UpdateNodeRequest) -> Result<Node> {
    let request = caller.asks(request);
    upstreams.nodes().update_node(request).await?.into_inner().node.ok_or_else(incomplete)
}

/// Puts a node into the trash.
pub async fn trash(
    upstreams: &Upstreams,
    caller: &Caller,
    of: NodeRef,
    precondition: Option<Precondition>,
) -> Result<Node> {
    let request = caller.asks(TrashNodeRequest { r#ref: Some(of), precondition });
    upstreams.nodes().trash_node(request).await?.into_inner().node.ok_or_else(incomplete)
}

/// Takes a node out of the trash.
pub async fn restore(upstreams: &Upstreams, caller: &Caller, request: RestoreNodeRequest) -> Result<Node> {
    let request = caller.asks(request);
    upstreams.nodes().restore_node(request).await?.into_inner().node.ok_or_else(incomplete)
}

/// What was put into the trash, the latest first.
pub async fn list_trash(upstreams: &Upstreams, caller: &Caller, page: Page) -> Result<ListTrashResponse> {
    let request = ListTrashRequest { page_size: page.size, page_token: page.token };
    Ok(upstreams.nodes().list_trash(caller.asks(request)).await?.into_inner())
}

/// Deletes one node of the trash for good, or with an empty id everything in it; gives how many nodes that were.
pub async fn purge(upstreams: &Upstreams, caller: &Caller, node_id: String) -> Result<u64> {
    let request = caller.asks(PurgeTrashRequest { node_id });
    Ok(upstreams.nodes().purge_trash(request).await?.into_inner().purged_nodes)
}
