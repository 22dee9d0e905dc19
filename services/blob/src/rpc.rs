//! The contract of `proto/holdall/blob/v1`: decode, call, encode.

pub mod admin;
mod batch;
mod delta;
mod grant;
mod read;
mod resume;
mod write;

use std::sync::Arc;
use std::time::Duration;

use holdall_proto::blob::v1::blob_service_server::{BlobService, BlobServiceServer};
use holdall_proto::blob::v1::{
    AbortUploadRequest, AbortUploadResponse, FinishUploadRequest, FinishUploadResponse, GetChunkingRequest,
    GetChunkingResponse, GetUploadRequest, GetUploadResponse, ReadRequest, StartUploadRequest,
    StartUploadResponse, TakeOverUploadRequest, TakeOverUploadResponse, WriteAtRequest, WriteAtResponse,
    WriteBatchRequest, WriteDeltaRequest, WriteRequest, WriteResponse,
};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::layers;
use tonic::{Request, Response, Status, Streaming};

use crate::error::Error;
use crate::store::Store;

/// The methods that need no access token: all, since grants are the proof.
pub const PUBLIC: &[&str] =
    &["/holdall.blob.v1.BlobService/", "/holdall.blob.v1.AdminService/", layers::HEALTH, layers::REFLECTION];

/// Largest message that is taken, in bytes. What a message takes once decoded can be fifty times that, when it is made of empty
/// fields.
const MAX_MESSAGE: usize = 512 << 10;

/// The service's methods.
#[derive(Clone)]
pub struct Rpc {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    clock: Clock,
    idle_timeout: Duration,
}

impl Rpc {
    /// Over a store. Grants are opened and receipts sealed with `keys`; a writer that is silent for `idle_timeout` is cut off.
    pub fn new(store: Arc<Store>, keys: KeyRing, clock: Clock, idle_timeout: Duration) -> Self {
        Self { store, keys: Arc::new(keys), clock, idle_timeout }
    }

    /// As a gRPC service.
    pub fn into_service(self) -> BlobServiceServer<Self> {
        BlobServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl BlobService for Rpc {
    type ReadStream = read::Answer;
    type WriteBatchStream = batch::Answer;
    type WriteDeltaStream = delta::Answer;

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        Ok(Response::new(write::write(self, request.into_inner()).await?))
    }

    async fn write_batch(
        &self,
        request: Request<Streaming<WriteBatchRequest>>,
    ) -> Result<Response<batch::Answer>, Status> {
        Ok(Response::new(batch::write(self, request.into_inner())))
    }

    async fn start_upload(
        &self,
        request: Request<StartUploadRequest>,
    ) -> Result<Response<StartUploadResponse>, Status> {
        Ok(Response::new(resume::start(self, request.get_ref())?))
    }

    async fn get_upload(
        &self,
        request: Request<GetUploadRequest>,
    ) -> Result<Response<GetUploadResponse>, Status> {
        Ok(Response::new(resume::get(self, request.get_ref()).await?))
    }

    async fn take_over_upload(
        &self,
        request: Request<TakeOverUploadRequest>,
    ) -> Result<Response<TakeOverUploadResponse>, Status> {
        Ok(Response::new(resume::take_over(self, request.get_ref()).await?))
    }

    async fn write_at(
        &self,
        request: Request<Streaming<WriteAtRequest>>,
    ) -> Result<Response<WriteAtResponse>, Status> {
        Ok(Response::new(resume::write_at(self, request.into_inner()).await?))
    }

    async fn finish_upload(
        &self,
        request: Request<FinishUploadRequest>,
    ) -> Result<Response<FinishUploadResponse>, Status> {
        Ok(Response::new(resume::finish(self, request.get_ref()).await?))
    }

    async fn abort_upload(
        &self,
        request: Request<AbortUploadRequest>,
    ) -> Result<Response<AbortUploadResponse>, Status> {
        Ok(Response::new(resume::abort(self, request.get_ref()).await?))
    }

    async fn get_chunking(
        &self,
        _request: Request<GetChunkingRequest>,
    ) -> Result<Response<GetChunkingResponse>, Status> {
        Ok(Response::new(delta::chunking()))
    }

    async fn write_delta(
        &self,
        request: Request<Streaming<WriteDeltaRequest>>,
    ) -> Result<Response<delta::Answer>, Status> {
        Ok(Response::new(delta::write(self, request.into_inner())))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<read::Answer>, Status> {
        Ok(Response::new(read::read(self, &request.into_inner()).await?))
    }
}

/// The next message, or `None` at the end of the stream. Nothing may take longer than `patience` to come.
async fn next<M>(stream: &mut Streaming<M>, patience: Duration) -> Result<Option<M>, Error> {
    match tokio::time::timeout(patience, stream.message()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => {
            tracing::debug!(%status, "a message of a stream cannot be read");
            Err(Error::Truncated)
        }
        Err(_elapsed) => Err(Error::Idle),
    }
}

fn invalid(field: &'static str, problem: &'static str) -> Error {
    Error::Invalid { field, problem }
}
