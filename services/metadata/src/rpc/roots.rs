//! `RootsService`.

use holdall_proto::blob::v1::RootsGrant;
use holdall_proto::metadata::v1::roots_service_server::RootsService;
use holdall_proto::metadata::v1::{
    AcknowledgeReleasedRequest, AcknowledgeReleasedResponse, CheckLiveRequest, CheckLiveResponse,
    ListReleasedRequest, ListReleasedResponse,
};
use tonic::{Request, Response, Status};

use super::{MAX_PAGE, Rpc};
use crate::domain::error::Error;
use crate::domain::id::BlobId;

/// The longest that a grant may be good for, in microseconds: a minute, and as much for clocks that differ.
const LONGEST: i64 = 2 * 60 * 1_000_000;

impl Rpc {
    /// Whether it is blob who asks.
    fn is_blob(&self, grant: &[u8]) -> Result<(), Error> {
        let now = self.0.clock.now();
        match self.0.keys.open::<RootsGrant>(grant, now) {
            Ok(grant) if grant.expires_at_us <= now.saturating_add(LONGEST) => Ok(()),
            _ => Err(Error::ReceiptInvalid),
        }
    }
}

fn blobs(ids: &[String]) -> Result<Vec<BlobId>, Error> {
    if ids.len() > MAX_PAGE as usize {
        return Err(Error::field("blob_ids", "must not be more than 1000"));
    }
    let id = |text: &String| BlobId::parse(text).ok_or(Error::field("blob_ids", "must be UUIDs"));
    ids.iter().map(id).collect()
}

#[tonic::async_trait]
impl RootsService for Rpc {
    async fn list_released(
        &self,
        request: Request<ListReleasedRequest>,
    ) -> Result<Response<ListReleasedResponse>, Status> {
        let request = request.into_inner();
        self.is_blob(&request.grant)?;
        let limit = match request.limit {
            0 => MAX_PAGE,
            limit => {
                u32::try_from(limit).map_err(|_| Error::field("limit", "must not be negative"))?.min(MAX_PAGE)
            }
        };
        let blobs = self.store().released(limit).await?;
        Ok(Response::new(ListReleasedResponse {
            blob_ids: blobs.iter().map(ToString::to_string).collect(),
            instance: self.store().instance().await?,
        }))
    }

    async fn acknowledge_released(
        &self,
        request: Request<AcknowledgeReleasedRequest>,
    ) -> Result<Response<AcknowledgeReleasedResponse>, Status> {
        let request = request.into_inner();
        self.is_blob(&request.grant)?;
        self.store().acknowledge_released(&blobs(&request.blob_ids)?).await?;
        Ok(Response::new(AcknowledgeReleasedResponse {}))
    }

    async fn check_live(
        &self,
        request: Request<CheckLiveRequest>,
    ) -> Result<Response<CheckLiveResponse>, Status> {
        let request = request.into_inner();
        self.is_blob(&request.grant)?;
        let live = self.store().live(&blobs(&request.blob_ids)?).await?;
        Ok(Response::new(CheckLiveResponse {
            live_blob_ids: live.iter().map(ToString::to_string).collect(),
            instance: self.store().instance().await?,
        }))
    }
}
