//! `NodeService`.

use std::sync::Arc;

use holdall_proto::metadata::v1::node_service_server::NodeService;
use holdall_proto::metadata::v1::{
    CreateFolderRequest, CreateFolderResponse, FindByNameRequest, FindByNameResponse, FoundNode,
    GetNodeRequest, GetNodeResponse, ListAncestorsRequest, ListAncestorsResponse, ListChildrenRequest,
    ListChildrenResponse, ListTrashRequest, ListTrashResponse, ListVersionsRequest, ListVersionsResponse,
    PurgeTrashRequest, PurgeTrashResponse, RestoreNodeRequest, RestoreNodeResponse, SetFolderPolicyRequest,
    SetFolderPolicyResponse, TrashNodeRequest, TrashNodeResponse, UpdateNodeRequest, UpdateNodeResponse,
};
use tonic::{Request, Response, Status};

use super::cache::{Answer, Keep};
use super::{Rpc, convert, page_size, validator};
use crate::domain::idempotency::Key;
use crate::domain::name::Name;
use crate::domain::node::{ChildPosition, NewFolder, NodeUpdate, Sort};
use crate::domain::space::Home;
use crate::store::{Named, Purge};

impl Rpc {
    async fn children(
        &self,
        home: &Home,
        request: &ListChildrenRequest,
        now: i64,
    ) -> Result<ListChildrenResponse, Status> {
        let size = page_size(request.page_size)?;
        let order = convert::order(request.order)?;
        let folder = self.store().folder(home, &convert::node_ref(request.folder.as_ref())?, now).await?;
        let scope = format!("children/{}/{}/{order:?}/{}", home.account, folder.id, request.descending);
        let after = self.position(&scope, &request.page_token)?;
        let sort = Sort { by: order, descending: request.descending };
        let store = self.store();
        let page = store.children(home, folder.id, sort, after.as_ref(), size, now).await?;
        let last = page.items.last().filter(|_| page.has_more).map(|node| ChildPosition::of(node, order));
        Ok(ListChildrenResponse {
            next_page_token: self.next_page(&scope, last)?,
            children: page.items.into_iter().map(convert::from_node).collect(),
            reuse: None,
        })
    }

    async fn named(
        &self,
        home: &Home,
        request: &FindByNameRequest,
        now: i64,
    ) -> Result<FindByNameResponse, Status> {
        let size = page_size(request.page_size)?;
        let name = Name::parse(&request.name)?;
        let scope = format!("named/{}/{}", home.account, name.as_str());
        let after = self.position(&scope, &request.page_token)?;
        let page = self.store().named(home, &name, after, size, now).await?;
        let last = page.items.last().filter(|_| page.has_more).map(|(id, _)| *id);
        let found = page.items.into_iter().filter_map(|(_, named)| named);
        Ok(FindByNameResponse {
            next_page_token: self.next_page(&scope, last)?,
            found: found
                .map(|Named { node, path }| FoundNode { node: Some(convert::from_node(node)), path })
                .collect(),
        })
    }
}

#[tonic::async_trait]
impl NodeService for Rpc {
    async fn get_node(&self, request: Request<GetNodeRequest>) -> Result<Response<GetNodeResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let reference = convert::node_ref(request.get_ref().r#ref.as_ref())?;
        let node = self.store().node(&home, &reference, now).await?;
        Ok(Response::new(GetNodeResponse { node: Some(convert::from_node(node)) }))
    }

    async fn list_children(
        &self,
        request: Request<ListChildrenRequest>,
    ) -> Result<Response<ListChildrenResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let load = async || self.children(&home, &request, now).await;
        let Answer { answer, moment } = self.0.children.get(self.store(), &home, &request, now, load).await?;
        let reuse =
            moment.and_then(|moment| validator::reuse(&home, moment, answer.end().saturating_sub(now)));
        Ok(Response::new(ListChildrenResponse { reuse, ..Arc::unwrap_or_clone(answer) }))
    }

    async fn find_by_name(
        &self,
        request: Request<FindByNameRequest>,
    ) -> Result<Response<FindByNameResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let load = async || self.named(&home, &request, now).await;
        let Answer { answer, .. } = self.0.named.get(self.store(), &home, &request, now, load).await?;
        Ok(Response::new(Arc::unwrap_or_clone(answer)))
    }

    async fn list_ancestors(
        &self,
        request: Request<ListAncestorsRequest>,
    ) -> Result<Response<ListAncestorsResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let nodes = self.store().ancestors(&home, convert::node_id(&request.get_ref().node_id)?, now).await?;
        Ok(Response::new(ListAncestorsResponse {
            ancestors: nodes.into_iter().map(convert::from_node).collect(),
        }))
    }

    async fn list_versions(
        &self,
        request: Request<ListVersionsRequest>,
    ) -> Result<Response<ListVersionsResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let size = page_size(request.page_size)?;
        let file = convert::node_id(&request.node_id)?;
        let scope = format!("versions/{}/{file}", home.account);
        let before = self.position(&scope, &request.page_token)?;
        let page = self.store().versions(&home, file, before, size, now).await?;
        let last = page.items.last().filter(|_| page.has_more).map(|version| version.sequence);
        Ok(Response::new(ListVersionsResponse {
            next_page_token: self.next_page(&scope, last)?,
            versions: page.items.into_iter().map(convert::from_version).collect(),
        }))
    }

    async fn create_folder(
        &self,
        request: Request<CreateFolderRequest>,
    ) -> Result<Response<CreateFolderResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let key = Key::parse(&request.idempotency_key)?;
        let folder = NewFolder {
            names: convert::folder_names(&request.name, request.parents)?,
            parents: request.parents,
            policy: request.policy.map(convert::policy).transpose()?,
            parent: convert::node_ref(request.parent.as_ref())?,
        };
        let made = self.store().create_folder(&home, &folder, key.as_ref(), now).await?;
        Ok(Response::new(CreateFolderResponse {
            node: Some(convert::from_node(made.node)),
            created: made.created,
        }))
    }

    async fn update_node(
        &self,
        request: Request<UpdateNodeRequest>,
    ) -> Result<Response<UpdateNodeResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let update = NodeUpdate {
            name: request.name.as_deref().map(Name::parse).transpose()?,
            parent: request.parent_id.as_deref().map(convert::node_id).transpose()?,
            keep_both: request.keep_both,
        };
        let precondition = convert::precondition(request.precondition)?;
        let id = convert::node_id(&request.node_id)?;
        let node = self.store().update_node(&home, id, &update, &precondition, now).await?;
        Ok(Response::new(UpdateNodeResponse { node: Some(convert::from_node(node)) }))
    }

    async fn set_folder_policy(
        &self,
        request: Request<SetFolderPolicyRequest>,
    ) -> Result<Response<SetFolderPolicyResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let policy = request.policy.map(convert::policy).transpose()?.unwrap_or_default();
        let precondition = convert::precondition(request.precondition)?;
        let folder = convert::node_ref(request.folder.as_ref())?;
        let node = self.store().set_folder_policy(&home, &folder, policy, &precondition, now).await?;
        Ok(Response::new(SetFolderPolicyResponse { node: Some(convert::from_node(node)) }))
    }

    async fn trash_node(
        &self,
        request: Request<TrashNodeRequest>,
    ) -> Result<Response<TrashNodeResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let precondition = convert::precondition(request.precondition)?;
        let reference = convert::required_ref(request.r#ref.as_ref())?;
        let node = self.store().trash_node(&home, &reference, &precondition, now).await?;
        Ok(Response::new(TrashNodeResponse { node: Some(convert::from_node(node)) }))
    }

    async fn restore_node(
        &self,
        request: Request<RestoreNodeRequest>,
    ) -> Result<Response<RestoreNodeResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let name = request.name.as_deref().map(Name::parse).transpose()?;
        let id = convert::node_id(&request.node_id)?;
        let parent = request.parent_id.as_deref().map(convert::node_id).transpose()?;
        let node = self.store().restore_node(&home, id, parent, name.as_ref(), now).await?;
        Ok(Response::new(RestoreNodeResponse { node: Some(convert::from_node(node)) }))
    }

    async fn list_trash(
        &self,
        request: Request<ListTrashRequest>,
    ) -> Result<Response<ListTrashResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let size = page_size(request.page_size)?;
        let scope = format!("trash/{}", home.account);
        let after = self.position(&scope, &request.page_token)?;
        let page = self.store().trash(&home, after, size, now).await?;
        let last = page.items.last().filter(|_| page.has_more).map(|node| (node.trashed_at, node.id));
        Ok(Response::new(ListTrashResponse {
            next_page_token: self.next_page(&scope, last)?,
            nodes: page.items.into_iter().map(convert::from_node).collect(),
        }))
    }

    async fn purge_trash(
        &self,
        request: Request<PurgeTrashRequest>,
    ) -> Result<Response<PurgeTrashResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let what = match request.get_ref().node_id.as_str() {
            "" => Purge::All,
            text => Purge::Node(convert::node_id(text)?),
        };
        let purged_nodes = self.store().purge(&home, what, now).await?;
        Ok(Response::new(PurgeTrashResponse { purged_nodes }))
    }
}
