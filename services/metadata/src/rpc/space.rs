//! `SpaceService`.

use holdall_proto::metadata::v1::space_service_server::SpaceService;
use holdall_proto::metadata::v1::{EmptySpaceRequest, EmptySpaceResponse, GetSpaceRequest, GetSpaceResponse};
use tonic::{Request, Response, Status};

use super::{Rpc, convert};

#[tonic::async_trait]
impl SpaceService for Rpc {
    async fn get_space(
        &self,
        request: Request<GetSpaceRequest>,
    ) -> Result<Response<GetSpaceResponse>, Status> {
        let (home, _) = self.home(&request).await?;
        let space = self.store().space(&home).await?;
        Ok(Response::new(GetSpaceResponse { space: Some(convert::from_space(&space)) }))
    }

    async fn empty_space(
        &self,
        request: Request<EmptySpaceRequest>,
    ) -> Result<Response<EmptySpaceResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let purged_nodes = self.store().empty_space(&home, now).await?;
        Ok(Response::new(EmptySpaceResponse { purged_nodes }))
    }
}
