//! The contract of `proto/holdall/blob/v1`: decode, call, encode.

mod read;
mod write;

use std::sync::Arc;
use std::time::Duration;

use holdall_proto::blob::v1::blob_service_server::{BlobService, BlobServiceServer};
use holdall_proto::blob::v1::{ReadRequest, WriteRequest, WriteResponse};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::layers;
use tonic::{Request, Response, Status, Streaming};

use crate::store::Store;

/// The methods that need no access token: all, since grants are the proof.
pub const PUBLIC: &[&str] = &["/holdall.blob.v1.BlobService/", layers::HEALTH, layers::REFLECTION];

/// Largest message that is taken, in bytes.
const MAX_MESSAGE: usize = 4 << 20;

/// The service's methods.
pub struct Rpc {
    store: Arc<Store>,
    keys: KeyRing,
    clock: Clock,
    idle_timeout: Duration,
}

impl Rpc {
    /// Over a store. Grants are opened and receipts sealed with `keys`; a writer that is silent for `idle_timeout` is cut off.
    pub fn new(store: Arc<Store>, keys: KeyRing, clock: Clock, idle_timeout: Duration) -> Self {
        Self { store, keys, clock, idle_timeout }
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

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        Ok(Response::new(write::write(self, request.into_inner()).await?))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<read::Answer>, Status> {
        Ok(Response::new(read::read(self, &request.into_inner()).await?))
    }
}
