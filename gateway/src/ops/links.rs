//! Short links.

use holdall_proto::metadata::v1::{
    CreateLinkRequest, DeleteLinkRequest, GetLinkRequest, Link, ListLinksRequest, ListLinksResponse,
    OpenLinkRequest, OpenLinkResponse, Precondition, UpdateLinkRequest,
};

use super::{Caller, Page, incomplete};
use crate::error::Result;
use crate::upstreams::Upstreams;

/// Makes a link to a file.
pub async fn create(upstreams: &Upstreams, caller: &Caller, request: CreateLinkRequest) -> Result<Link> {
    let request = caller.asks(request);
    upstreams.links().create_link(request).await?.into_inner().link.ok_or_else(incomplete)
}

/// One of the caller's links.
pub async fn get(upstreams: &Upstreams, caller: &Caller, link_id: String) -> Result<Link> {
    let request = caller.asks(GetLinkRequest { link_id });
    upstreams.links().get_link(request).await?.into_inner().link.ok_or_else(incomplete)
}

/// The caller's links, all of them or those to one node.
pub async fn list(
    upstreams: &Upstreams,
    caller: &Caller,
    node_id: String,
    page: Page,
) -> Result<ListLinksResponse> {
    let request = ListLinksRequest { node_id, page_size: page.size, page_token: page.token };
    Ok(upstreams.links().list_links(caller.asks(request)).await?.into_inner())
}

/// Changes when a link expires.
pub async fn update(upstreams: &Upstreams, caller: &Caller, request: UpdateLinkRequest) -> Result<Link> {
    let request = caller.asks(request);
    upstreams.links().update_link(request).await?.into_inner().link.ok_or_else(incomplete)
}

/// Ends a link.
pub async fn delete(
    upstreams: &Upstreams,
    caller: &Caller,
    link_id: String,
    precondition: Option<Precondition>,
) -> Result<()> {
    upstreams.links().delete_link(caller.asks(DeleteLinkRequest { link_id, precondition })).await?;
    Ok(())
}

/// Opens what a slug stands for, in nobody's name: the slug is the proof.
pub async fn open(upstreams: &Upstreams, slug: String) -> Result<OpenLinkResponse> {
    Ok(upstreams.links().open_link(OpenLinkRequest { slug }).await?.into_inner())
}
