//! `ChangeService`.

use holdall_proto::metadata::v1::change_service_server::ChangeService;
use holdall_proto::metadata::v1::{ListChangesRequest, ListChangesResponse};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, page_size};
use crate::domain::error::Error;

#[tonic::async_trait]
impl ChangeService for Rpc {
    async fn list_changes(
        &self,
        request: Request<ListChangesRequest>,
    ) -> Result<Response<ListChangesResponse>, Status> {
        let (home, _) = self.home(&request).await?;
        let request = request.into_inner();
        let size = page_size(request.page_size)?;
        let epoch = self.store().feed_epoch().await?;
        if !request.epoch.is_empty() && request.epoch != epoch {
            return Err(Error::CursorExpired.into());
        }
        let page = self.store().changes(&home, request.after_sequence, size).await?;
        Ok(Response::new(ListChangesResponse {
            last_sequence: page.items.last().map_or(request.after_sequence, |change| change.sequence),
            changes: page.items.into_iter().map(convert::from_change).collect(),
            has_more: page.has_more,
            epoch: epoch.to_owned(),
        }))
    }
}
