//! Asking metadata which blobs are in use.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use holdall_proto::blob::v1::RootsGrant;
use holdall_proto::grant::KeyRing;
use holdall_proto::metadata::v1::roots_service_client::RootsServiceClient;
use holdall_proto::metadata::v1::{AcknowledgeReleasedRequest, CheckLiveRequest, ListReleasedRequest};
use holdall_runtime::clock::Clock;
use holdall_runtime::upstream::Upstream;
use tonic::Status;

use crate::domain::BlobId;
use crate::store::index::{self, Index};

/// Blobs that one question may be about.
pub const MAX_BLOBS: u32 = 1000;

/// How long a proof of who asks is good for, in microseconds.
const GRANT_LIFETIME: i64 = 60 * 1_000_000;

/// Who knows which blobs are in use.
#[async_trait]
pub trait Roots: Send + Sync {
    /// The first few blobs that are said to have lost a user.
    async fn released(&self) -> Result<Vec<BlobId>, RootsError>;

    /// Takes at most [`MAX_BLOBS`] blobs off that list.
    async fn acknowledge(&self, blobs: &[BlobId]) -> Result<(), RootsError>;

    /// Those of at most [`MAX_BLOBS`] blobs that are in use, or on that list.
    async fn live(&self, blobs: &[BlobId]) -> Result<HashSet<BlobId>, RootsError>;
}

/// Why there is no answer. Nothing may be deleted without one.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Metadata did not answer, or refused to.
    #[error("metadata does not tell which blobs are in use")]
    Call(#[from] Status),
    /// It is not the metadata that these blobs belong to.
    #[error("metadata has another database than the one that these blobs belong to")]
    Foreign,
    /// The answer makes no sense.
    #[error("metadata's answer makes no sense")]
    Malformed,
    /// The index failed.
    #[error("the index failed")]
    Index(#[from] index::Error),
}

/// The metadata service.
pub struct Metadata {
    client: RootsServiceClient<Upstream>,
    keys: KeyRing,
    clock: Clock,
    index: Index,
}

impl Metadata {
    /// Behind `upstream`. What it says counts only as long as it is the same database: which one is noted in the index.
    pub fn new(upstream: Upstream, keys: KeyRing, clock: Clock, index: Index) -> Self {
        Self { client: RootsServiceClient::new(upstream), keys, clock, index }
    }

    fn grant(&self) -> Bytes {
        self.keys.seal(&RootsGrant { expires_at_us: self.clock.now().saturating_add(GRANT_LIFETIME) })
    }

    /// Asked another metadata, one would be told that nothing is in use.
    async fn check(&self, instance: &str) -> Result<(), RootsError> {
        let belongs = !instance.is_empty() && self.index.belongs_to(instance).await?;
        if belongs { Ok(()) } else { Err(RootsError::Foreign) }
    }
}

#[async_trait]
impl Roots for Metadata {
    async fn released(&self) -> Result<Vec<BlobId>, RootsError> {
        let request = ListReleasedRequest { grant: self.grant(), limit: 0 };
        let answer = self.client.clone().list_released(request).await?.into_inner();
        self.check(&answer.instance).await?;
        parse(&answer.blob_ids)
    }

    async fn acknowledge(&self, blobs: &[BlobId]) -> Result<(), RootsError> {
        let request = AcknowledgeReleasedRequest { grant: self.grant(), blob_ids: texts(blobs) };
        self.client.clone().acknowledge_released(request).await?;
        Ok(())
    }

    async fn live(&self, blobs: &[BlobId]) -> Result<HashSet<BlobId>, RootsError> {
        if blobs.is_empty() {
            return Ok(HashSet::new());
        }
        let request = CheckLiveRequest { grant: self.grant(), blob_ids: texts(blobs) };
        let answer = self.client.clone().check_live(request).await?.into_inner();
        self.check(&answer.instance).await?;
        parse(&answer.live_blob_ids)
    }
}

fn texts(blobs: &[BlobId]) -> Vec<String> {
    blobs.iter().map(ToString::to_string).collect()
}

fn parse<T: FromIterator<BlobId>>(ids: &[String]) -> Result<T, RootsError> {
    ids.iter().map(|id| BlobId::parse(id).ok_or(RootsError::Malformed)).collect()
}
