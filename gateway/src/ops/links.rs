//! Short links.

use holdall_proto::metadata::v1::{
    CreateLinkRequest, DeleteByLinkRequest, DeleteLinkRequest, GetLinkRequest, Link, LinkForm,
    ListLinksRequest, ListLinksResponse, OpenLinkRequest, OpenLinkResponse, Precondition, UpdateLinkRequest,
    get_link_request,
};

use super::content::Opened;
use super::{Caller, Page, incomplete};
use crate::error::Result;
use crate::upstreams::Upstreams;

/// Makes a link to a file.
pub async fn create(upstreams: &Upstreams, caller: &Caller, request: CreateLinkRequest) -> Result<Link> {
    let request = caller.asks(request);
    upstreams.links().create_link(request).await?.into_inner().link.ok_or_else(incomplete)
}

/// One of the caller's links, by id.
pub async fn get(upstreams: &Upstreams, caller: &Caller, link_id: String) -> Result<Link> {
    get_by(upstreams, caller, get_link_request::Link::LinkId(link_id)).await
}

/// One of the caller's links, by slug.
pub async fn by_slug(upstreams: &Upstreams, caller: &Caller, slug: String) -> Result<Link> {
    get_by(upstreams, caller, get_link_request::Link::Slug(slug)).await
}

async fn get_by(upstreams: &Upstreams, caller: &Caller, link: get_link_request::Link) -> Result<Link> {
    let request = caller.asks(GetLinkRequest { link: Some(link) });
    upstreams.links().get_link(request).await?.into_inner().link.ok_or_else(incomplete)
}

/// The caller's links, all of them or those to one node.
pub async fn list(
    upstreams: &Upstreams,
    caller: &Caller,
    node_id: String,
    page: Page,
) -> Result<ListLinksResponse> {
    let request = ListLinksRequest {
        node_id,
        page_size: page.size,
        page_token: page.token,
        ..ListLinksRequest::default()
    };
    Ok(upstreams.links().list_links(caller.asks(request)).await?.into_inner())
}

/// The caller's links of one form, with the files that they lead to.
pub async fn list_with_files(
    upstreams: &Upstreams,
    caller: &Caller,
    form: LinkForm,
    page: Page,
) -> Result<ListLinksResponse> {
    let request = ListLinksRequest {
        form: form.into(),
        with_nodes: true,
        page_size: page.size,
        page_token: page.token,
        ..ListLinksRequest::default()
    };
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

/// Opens what a slug stands for, in nobody's name: the slug is the proof. A `download` counts where they are limited.
pub async fn open(
    upstreams: &Upstreams,
    slug: String,
    form: LinkForm,
    download: bool,
) -> Result<OpenLinkResponse> {
    let request = OpenLinkRequest { slug, form: form.into(), download };
    Ok(upstreams.links().open_link(request).await?.into_inner())
}

/// The content that an opened link leads to.
pub fn content(opened: OpenLinkResponse) -> Result<Opened> {
    let OpenLinkResponse { name, version, read_grant, .. } = opened;
    Ok(Opened { name, version: version.ok_or_else(incomplete)?, grant: read_grant })
}

/// Deletes the file that a link leads to, in nobody's name: the delete key is the proof.
pub async fn delete_file(
    upstreams: &Upstreams,
    slug: String,
    form: LinkForm,
    delete_key: String,
) -> Result<()> {
    upstreams.links().delete_by_link(DeleteByLinkRequest { slug, form: form.into(), delete_key }).await?;
    Ok(())
}
