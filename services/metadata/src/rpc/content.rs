//! `ContentService`.

use holdall_proto::blob::v1::Receipt;
use holdall_proto::metadata::v1::content_service_server::ContentService;
use holdall_proto::metadata::v1::{
    AbortUploadRequest, AbortUploadResponse, BeginUploadRequest, BeginUploadResponse, CommitUploadRequest,
    CommitUploadResponse, OpenContentRequest, OpenContentResponse,
};
use holdall_proto::timestamp;
use tonic::{Request, Response, Status};

use super::cache::{Answer, Keep};
use super::{Content, Rpc, convert, validator};
use crate::domain::error::Error;
use crate::domain::id::{BlobId, UploadId, VersionId};
use crate::domain::idempotency::Key;
use crate::domain::space::Home;
use crate::domain::upload::{Commit, Stored};
use crate::domain::version::{self, Digest, MediaType};

impl Rpc {
    /// What blob says it stored, when it says so truly, for this space, and in time.
    pub(super) fn stored(&self, receipt: &[u8], home: &Home, now: i64) -> Result<Stored, Error> {
        let receipt: Receipt = self.0.keys.open(receipt, now).map_err(|_| Error::ReceiptInvalid)?;
        if receipt.space_id != home.space.to_string() {
            return Err(Error::ReceiptInvalid);
        }
        Ok(Stored {
            upload: UploadId::parse(&receipt.upload_id).ok_or(Error::ReceiptInvalid)?,
            blob: BlobId::parse(&receipt.blob_id).ok_or(Error::ReceiptInvalid)?,
            size: receipt.size,
            digest: Digest(receipt.digest.as_ref().try_into().map_err(|_| Error::ReceiptInvalid)?),
        })
    }
}

impl Rpc {
    async fn content(&self, home: &Home, request: &OpenContentRequest, now: i64) -> Result<Content, Status> {
        let version = match request.version_id.as_str() {
            "" => None,
            text => Some(VersionId::parse(text).ok_or(Error::NotFound)?),
        };
        let reference = convert::required_ref(request.r#ref.as_ref())?;
        let (node, version) = self.store().content(home, &reference, version, now).await?;
        Ok(Content {
            blob: version.blob,
            node: convert::from_node(node),
            version: convert::from_version(version),
        })
    }
}

#[tonic::async_trait]
impl ContentService for Rpc {
    async fn begin_upload(
        &self,
        request: Request<BeginUploadRequest>,
    ) -> Result<Response<BeginUploadResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let precondition = convert::precondition(request.precondition)?;
        let (target, keep_both) = convert::target(request.target)?;
        let store = self.store();
        let upload = store.begin_upload(&home, &target, keep_both, request.size, &precondition, now).await?;
        Ok(Response::new(BeginUploadResponse {
            upload_id: upload.id.to_string(),
            write_grant: self.write_grant(&home, &upload),
            expires_at: Some(timestamp(upload.expires_at)),
        }))
    }

    async fn commit_upload(
        &self,
        request: Request<CommitUploadRequest>,
    ) -> Result<Response<CommitUploadResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let (target, keep_both) = convert::target(request.target)?;
        let commit = Commit {
            stored: self.stored(&request.receipt, &home, now)?,
            media_type: MediaType::parse(&request.media_type)?,
            device: version::device(&request.device)?.to_owned(),
            precondition: convert::precondition(request.precondition)?,
            key: Key::parse(&request.idempotency_key)?,
            link: request.link.as_ref().map(convert::new_link).transpose()?,
            target,
            keep_both,
        };
        let made = self.store().commit_upload(&home, &commit, now).await?;
        Ok(Response::new(CommitUploadResponse {
            node: Some(convert::from_node(made.node)),
            created: made.created,
            link: made.link.map(convert::from_link),
        }))
    }

    async fn abort_upload(
        &self,
        request: Request<AbortUploadRequest>,
    ) -> Result<Response<AbortUploadResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let id = UploadId::parse(&request.get_ref().upload_id)
            .ok_or(Error::field("upload_id", "must be a UUID"))?;
        self.store().abort_upload(&home, id, now).await?;
        Ok(Response::new(AbortUploadResponse {}))
    }

    async fn open_content(
        &self,
        request: Request<OpenContentRequest>,
    ) -> Result<Response<OpenContentResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let load = async || self.content(&home, &request, now).await;
        let Answer { answer: content, moment } =
            self.0.contents.get(self.store(), &home, &request, now, load).await?;
        // Whoever gets it last still has time to read.
        let lasts = content.end().saturating_sub(now).min(self.0.read_grant_lifetime / 2);
        Ok(Response::new(OpenContentResponse {
            read_grant: self.read_grant(content.blob, now),
            version: Some(content.version.clone()),
            node: Some(content.node.clone()),
            reuse: moment.and_then(|moment| validator::reuse(&home, moment, lasts)),
        }))
    }
}
