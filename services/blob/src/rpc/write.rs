//! `Write`.

use std::time::Duration;

use blake3::Hash;
use bytes::Bytes;
use holdall_proto::blob::v1::write_request::Part;
use holdall_proto::blob::v1::{Receipt, WriteGrant, WriteHeader, WriteRequest, WriteResponse};
use tonic::Streaming;
use uuid::Uuid;

use super::Rpc;
use crate::domain::BlobId;
use crate::error::Error;
use crate::store::upload::UploadError;

/// A receipt is good for at least this long, in microseconds: an upload may have taken all the time that its grant had.
const RECEIPT_LIFETIME: i64 = 15 * 60 * 1_000_000;

pub(super) async fn write(rpc: &Rpc, mut stream: Streaming<WriteRequest>) -> Result<WriteResponse, Error> {
    let Some(Part::Header(header)) = next(&mut stream, rpc.idle_timeout).await? else {
        return Err(invalid("header", "must be the first message"));
    };
    let grant = open(rpc, &header)?;
    let id = BlobId::new(rpc.clock.now());
    // Blob knows no spaces; one that is no UUID is not worth a failure.
    let space = Uuid::try_parse(&grant.space_id).unwrap_or_default();
    let mut upload = rpc.store.upload(id, space, grant.max_size)?;
    let finish = loop {
        match next(&mut stream, rpc.idle_timeout).await? {
            Some(Part::Data(data)) => upload.push(data).await?,
            Some(Part::Finish(finish)) => break finish,
            Some(Part::Header(_)) => return Err(invalid("header", "must be the first message only")),
            // However the stream ended: what its writer did not finish is not kept.
            None => return Err(Error::Truncated),
        }
    };
    // Counted from before the blob is there: whoever collects what is not used waits for longer than that.
    let least = rpc.clock.now().saturating_add(RECEIPT_LIFETIME);
    let written = upload.finish(finish.size, digest(&finish.digest)?).await?;
    let receipt = Receipt {
        blob_id: id.to_string(),
        size: written.size,
        digest: Bytes::copy_from_slice(written.digest.as_bytes()),
        space_id: grant.space_id,
        expires_at_us: grant.expires_at_us.max(least),
        upload_id: grant.upload_id,
    };
    Ok(WriteResponse { receipt: rpc.keys.seal(&receipt), size: receipt.size, digest: receipt.digest })
}

fn open(rpc: &Rpc, header: &WriteHeader) -> Result<WriteGrant, Error> {
    let grant: WriteGrant = rpc.keys.open(&header.grant, rpc.clock.now())?;
    match header.size {
        Some(size) if size > grant.max_size => Err(UploadError::TooLarge.into()),
        _ => Ok(grant),
    }
}

/// The next part, or `None` at the end of the stream. A message that holds none counts as empty content.
async fn next(stream: &mut Streaming<WriteRequest>, patience: Duration) -> Result<Option<Part>, Error> {
    match tokio::time::timeout(patience, stream.message()).await {
        Ok(Ok(message)) => Ok(message.map(|message| message.part.unwrap_or(Part::Data(Bytes::new())))),
        Ok(Err(status)) => {
            tracing::debug!(%status, "a message of a write cannot be read");
            Err(Error::Truncated)
        }
        Err(_elapsed) => Err(Error::Idle),
    }
}

fn digest(bytes: &Bytes) -> Result<Option<Hash>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes =
        <[u8; 32]>::try_from(&bytes[..]).map_err(|_| invalid("finish.digest", "must have 32 bytes"))?;
    Ok(Some(Hash::from_bytes(bytes)))
}

fn invalid(field: &'static str, problem: &'static str) -> Error {
    Error::Invalid { field, problem }
}
