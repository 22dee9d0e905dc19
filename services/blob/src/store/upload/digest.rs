//! The digest of content that is stored: its chunks are read again, and each is verified.

use blake3::Hasher;
use bytes::Bytes;
use futures::StreamExt;
use tokio::task::JoinError;

use crate::domain::manifest::{Chunk, Part};
use crate::store::download;
use crate::store::reader::{ReadError, Reader};

/// Chunks that are best read with one call.
pub const WINDOW: usize = 1024;
/// Bytes that are hashed at a time.
const BATCH: usize = 1 << 20;

/// Lets `hasher` see the content of `chunks`, in order; returns it.
pub async fn update(reader: &Reader, hasher: Hasher, chunks: &[Chunk]) -> Result<Hasher, ReadError> {
    let whole =
        |chunk: &Chunk| Part { chunk: *chunk, bytes: 0..usize::try_from(chunk.size).unwrap_or(usize::MAX) };
    let mut pieces = download::stream(reader.clone(), chunks.iter().map(whole).collect());
    let hash = |mut hasher: Hasher, batch: Vec<Bytes>| {
        tokio::task::spawn_blocking(move || {
            for piece in batch {
                hasher.update(&piece);
            }
            hasher
        })
    };
    let mut hashing = hash(hasher, Vec::new());
    let (mut batch, mut len) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        len += piece.len();
        batch.push(piece);
        if len >= BATCH {
            let hasher = hashing.await.map_err(|error| crashed(&error))?;
            hashing = hash(hasher, std::mem::take(&mut batch));
            len = 0;
        }
    }
    let hasher = hashing.await.map_err(|error| crashed(&error))?;
    hash(hasher, batch).await.map_err(|error| crashed(&error))
}

fn crashed(error: &JoinError) -> ReadError {
    tracing::error!(%error, "hashing ended early");
    ReadError::Failed
}
