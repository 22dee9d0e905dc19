//! `LinkService`.

use holdall_proto::metadata::v1::link_service_server::LinkService;
use holdall_proto::metadata::v1::{
    CreateLinkRequest, CreateLinkResponse, DeleteByLinkRequest, DeleteByLinkResponse, DeleteLinkRequest,
    DeleteLinkResponse, GetLinkRequest, GetLinkResponse, LinkForm, ListLinksRequest, ListLinksResponse,
    OpenLinkRequest, OpenLinkResponse, UpdateLinkRequest, UpdateLinkResponse, get_link_request,
};
use holdall_proto::timestamp;
use tonic::{Request, Response, Status};

use super::cache::Opening;
use super::{Rpc, convert, page_size};
use crate::domain::error::Error;
use crate::domain::id::{LinkId, NodeId};
use crate::domain::idempotency::Key;
use crate::domain::link::{DeleteKey, Form, Slug};
use crate::store::LinkFilter;

fn link_id(text: &str) -> Result<LinkId, Error> {
    LinkId::parse(text).ok_or(Error::NotFound)
}

/// What the bearer of a link shows. What no link can have answers like what no link has.
fn shown(slug: &str, form: i32) -> Result<(Slug, Form), Error> {
    Slug::parse(slug).zip(convert::form(form)).ok_or(Error::NotFound)
}

impl Rpc {
    async fn opening(&self, slug: &Slug, form: Form, download: bool, now: i64) -> Result<Opening, Status> {
        let (link, node) = self.store().open_link(slug, form, download, now).await?;
        let version = node.content()?.clone();
        let end = [link.expires_at, node.expires_at].into_iter().flatten().min();
        Ok(Opening {
            space: link.space,
            blob: version.blob,
            version: convert::from_version(version),
            expires_at: link.expires_at,
            end: end.unwrap_or(i64::MAX),
            limited: link.is_limited(),
            name: if link.file_name.is_empty() { node.name } else { link.file_name },
        })
    }
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
        let new = convert::new_link(&request.options.unwrap_or_default())?;
        let special = !new.suffix.is_empty() || new.max_downloads > 0 || new.deletable;
        if request.reuse && special {
            return Err(Error::field(
                "reuse",
                "must not be set together with slug_suffix, max_downloads or deletable",
            )
            .into());
        }
        let node = convert::node_id(&request.node_id)?;
        let link = self.store().create_link(&home, node, &new, request.reuse, key.as_ref(), now).await?;
        Ok(Response::new(CreateLinkResponse { link: Some(convert::from_link(link)) }))
    }

    async fn get_link(&self, request: Request<GetLinkRequest>) -> Result<Response<GetLinkResponse>, Status> {
        use get_link_request::Link;
        let (home, now) = self.home(&request).await?;
        let linked = match request.into_inner().link {
            None => return Err(Error::field("link", "must be set").into()),
            Some(Link::LinkId(id)) => self.store().link(&home, link_id(&id)?, now).await?,
            Some(Link::Slug(slug)) => {
                let slug = Slug::parse(&slug).ok_or(Error::NotFound)?;
                self.store().link_by_slug(&home, &slug, now).await?
            }
        };
        Ok(Response::new(GetLinkResponse { link: Some(convert::from_linked_node(linked)) }))
    }

    async fn list_links(
        &self,
        request: Request<ListLinksRequest>,
    ) -> Result<Response<ListLinksResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let size = page_size(request.page_size)?;
        let form = match LinkForm::try_from(request.form) {
            Ok(LinkForm::Unspecified) => None,
            _ => Some(convert::form(request.form).ok_or(convert::UNKNOWN_FORM)?),
        };
        let node = match request.node_id.as_str() {
            "" => None,
            // What cannot exist has no links, like what does not.
            text => match NodeId::parse(text) {
                Some(node) => Some(node),
                None => return Ok(Response::new(ListLinksResponse::default())),
            },
        };
        let scope = format!("links/{}/{}/{form:?}", home.account, request.node_id);
        let after = self.position(&scope, &request.page_token)?;
        let filter = LinkFilter { node, form };
        let page = if request.with_nodes {
            self.store().links_with_nodes(&home, filter, after, size, now).await?
        } else {
            self.store().links(&home, filter, after, size).await?
        };
        let last = page.items.last().filter(|_| page.has_more);
        let last = last.map(|linked| (linked.link.created_at, linked.link.id));
        Ok(Response::new(ListLinksResponse {
            next_page_token: self.next_page(&scope, last)?,
            links: page.items.into_iter().map(convert::from_linked_node).collect(),
        }))
    }

    async fn update_link(
        &self,
        request: Request<UpdateLinkRequest>,
    ) -> Result<Response<UpdateLinkResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let update = convert::link_update(&request)?;
        let precondition = convert::precondition(request.precondition)?;
        let id = link_id(&request.link_id)?;
        let link = self.store().update_link(&home, id, &update, &precondition, now).await?;
        Ok(Response::new(UpdateLinkResponse { link: Some(convert::from_link(link)) }))
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
        let request = request.into_inner();
        let (slug, form) = shown(&request.slug, request.form)?;
        let load = async || self.opening(&slug, form, request.download, now).await;
        let opening = self.0.openings.get(self.store(), &slug, form, now, load).await?;
        Ok(Response::new(OpenLinkResponse {
            read_grant: self.read_grant(opening.blob, now),
            name: opening.name.clone(),
            version: Some(opening.version.clone()),
            expires_at: opening.expires_at.map(timestamp),
        }))
    }

    async fn delete_by_link(
        &self,
        request: Request<DeleteByLinkRequest>,
    ) -> Result<Response<DeleteByLinkResponse>, Status> {
        let now = self.0.clock.now();
        let request = request.into_inner();
        let (slug, form) = shown(&request.slug, request.form)?;
        let key = DeleteKey::parse(&request.delete_key);
        self.store().delete_by_link(&slug, form, key.as_ref(), now).await?;
        Ok(Response::new(DeleteByLinkResponse {}))
    }
}
