//! `Write`.

use bytes::Bytes;
use holdall_proto::blob::v1::write_request::Part;
use holdall_proto::blob::v1::{WriteGrant, WriteHeader, WriteRequest, WriteResponse};
use tonic::Streaming;

use super::grant::{digest, space};
use super::{Rpc, invalid, next};
use crate::domain::BlobId;
use crate::error::Error;
use crate::store::upload::UploadError;

pub(super) async fn write(rpc: &Rpc, mut stream: Streaming<WriteRequest>) -> Result<WriteResponse, Error> {
    let Some(Part::Header(header)) = next_part(rpc, &mut stream).await? else {
        return Err(invalid("header", "must be the first message"));
    };
    let grant = open(rpc, &header)?;
    let id = BlobId::new(rpc.clock.now());
    let mut upload = rpc.store.upload(id, space(&grant), grant.max_size)?;
    let finish = loop {
        match next_part(rpc, &mut stream).await? {
            Some(Part::Data(data)) => upload.push(data).await?,
            Some(Part::Finish(finish)) => break finish,
            Some(Part::Header(_)) => return Err(invalid("header", "must be the first message only")),
            // However the stream ended: what its writer did not finish is not kept.
            None => return Err(Error::Truncated),
        }
    };
    let now = rpc.clock.now();
    let written = upload.finish(finish.size, digest("finish.digest", &finish.digest)?).await?;
    Ok(rpc.receipt(&grant, &written, now))
}

fn open(rpc: &Rpc, header: &WriteHeader) -> Result<WriteGrant, Error> {
    let grant = rpc.open_grant(&header.grant)?;
    match header.size {
        Some(size) if size > grant.max_size => Err(UploadError::TooLarge.into()),
        _ => Ok(grant),
    }
}

/// The next part, or `None` at the end of the stream. A message that holds none counts as empty content.
async fn next_part(rpc: &Rpc, stream: &mut Streaming<WriteRequest>) -> Result<Option<Part>, Error> {
    let message = next(stream, rpc.idle_timeout).await?;
    Ok(message.map(|message| message.part.unwrap_or(Part::Data(Bytes::new()))))
}
