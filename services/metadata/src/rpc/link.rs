//! `LinkService`.

use holdall_proto::metadata::v1::link_service_server::LinkService;
use holdall_proto::metadata::v1::{
    CreateLinkRequest, CreateLinkResponse, DeleteLinkRequest, DeleteLinkResponse, GetLinkRequest,
    GetLinkResponse, ListLinksRequest, ListLinksResponse, OpenLinkRequest, OpenLinkResponse,
    UpdateLinkRequest, UpdateLinkResponse,
};
use holdall_proto::timestamp;
use tonic::{Request, Response, Status};

use super::{Rpc, convert, page_size};
use crate::domain::error::Error;
use crate::domain::id::{LinkId, NodeId};
use crate::domain::idempotency::Key;
use crate::domain::link::Slug;

fn link_id(text: &str) -> Result<LinkId, Error> {
    LinkId::parse(text).ok_or(Error::NotFound)
}

#[tonic::async_trait]
impl LinkService for Rpc {
    async fn create_link(
        &self,
        request: Request<CreateLinkRequest>,
    ) -> Result<Response<CreateLinkResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let key = Key::parse(&request.idempotency_key)?;
        let expires_at = convert::expires_at(request.expires_at)?;
        let node = convert::node_id(&request.node_id)?;
        let link = self.store().create_link(&home, node, expires_at, key.as_ref(), now).await?;
        Ok(Response::new(CreateLinkResponse { link: Some(convert::from_link(&link)) }))
    }

    async fn get_link(&self, request: Request<GetLinkRequest>) -> Result<Response<GetLinkResponse>, Status> {
        let (home, _) = self.home(&request).await?;
        let link = self.store().link(&home, link_id(&request.get_ref().link_id)?).await?;
        Ok(Response::new(GetLinkResponse { link: Some(convert::from_link(&link)) }))
    }

    async fn list_links(
        &self,
        request: Request<ListLinksRequest>,
    ) -> Result<Response<ListLinksResponse>, Status> {
        let (home, _) = self.home(&request).await?;
        let request = request.into_inner();
        let size = page_size(request.page_size)?;
        let node = match request.node_id.as_str() {
            "" => None,
            // What cannot exist has no links, like what does not.
            text => match NodeId::parse(text) {
                Some(node) => Some(node),
                None => return Ok(Response::new(ListLinksResponse::default())),
            },
        };
        let scope = format!("links/{}/{}", home.account, request.node_id);
        let after = self.position(&scope, &request.page_token)?;
        let page = self.store().links(&home, node, after, size).await?;
        let last = page.items.last().filter(|_| page.has_more).map(|link| (link.created_at, link.id));
        Ok(Response::new(ListLinksResponse {
            next_page_token: self.next_page(&scope, last)?,
            links: page.items.iter().map(convert::from_link).collect(),
        }))
    }

    async fn update_link(
        &self,
        request: Request<UpdateLinkRequest>,
    ) -> Result<Response<UpdateLinkResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let expires_at = convert::expires_at(request.expires_at)?;
        let precondition = convert::precondition(request.precondition)?;
        let id = link_id(&request.link_id)?;
        let link = self.store().update_link(&home, id, expires_at, &precondition, now).await?;
        Ok(Response::new(UpdateLinkResponse { link: Some(convert::from_link(&link)) }))
    }

    async fn delete_link(
        &self,
        request: Request<DeleteLinkRequest>,
    ) -> Result<Response<DeleteLinkResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let precondition = convert::precondition(request.precondition)?;
        self.store().delete_link(&home, link_id(&request.link_id)?, &precondition, now).await?;
        Ok(Response::new(DeleteLinkResponse {}))
    }

    async fn open_link(
        &self,
        request: Request<OpenLinkRequest>,
    ) -> Result<Response<OpenLinkResponse>, Status> {
        let now = self.0.clock.now();
        let slug = Slug::parse(&request.get_ref().slug).ok_or(Error::NotFound)?;
        let (link, node) = self.store().open_link(&slug, now).await?;
        let version = node.content()?.clone();
        Ok(Response::new(OpenLinkResponse {
            read_grant: self.read_grant(version.blob, now),
            name: node.name,
            version: Some(convert::from_version(version)),
            expires_at: link.expires_at.map(timestamp),
        }))
    }
}
