//! Uploads that can be resumed.

use bytes::Bytes;
use holdall_proto::blob::v1::write_at_request::Part;
use holdall_proto::blob::v1::{
    AbortUploadRequest, AbortUploadResponse, FinishUploadRequest, FinishUploadResponse, GetUploadRequest,
    GetUploadResponse, StartUploadRequest, StartUploadResponse, TakeOverUploadRequest,
    TakeOverUploadResponse, UploadHandle, WriteAtRequest, WriteAtResponse, WriteGrant, WriteResponse,
};
use holdall_proto::grant::GrantError;
use tonic::Streaming;
use tracing::Instrument;

use super::grant::{digest, space};
use super::{Rpc, invalid, next};
use crate::domain::BlobId;
use crate::error::Error;
use crate::store::lane::WriteError;
use crate::store::upload::UploadError;
use crate::store::upload::resume::{FIRST_EPOCH, Terms, Writer};

pub(super) fn start(rpc: &Rpc, request: &StartUploadRequest) -> Result<StartUploadResponse, Error> {
    let grant = rpc.open_grant(&request.grant)?;
    let max_size = request.size.unwrap_or(grant.max_size);
    if max_size > grant.max_size {
        return Err(UploadError::TooLarge.into());
    }
    let handle = UploadHandle {
        blob_id: BlobId::new(rpc.clock.now()).to_string(),
        space_id: grant.space_id,
        max_size,
        expires_at_us: grant.expires_at_us,
        upload_id: grant.upload_id,
    };
    let expires_at_us = handle.expires_at_us;
    Ok(StartUploadResponse { handle: rpc.keys.seal(&handle), epoch: FIRST_EPOCH, expires_at_us })
}

pub(super) async fn get(rpc: &Rpc, request: &GetUploadRequest) -> Result<GetUploadResponse, Error> {
    let (terms, _) = open(rpc, &request.handle)?;
    let (offset, complete) = rpc.store.upload_offset(&terms).await?;
    Ok(GetUploadResponse { offset, complete })
}

pub(super) async fn take_over(
    rpc: &Rpc,
    request: &TakeOverUploadRequest,
) -> Result<TakeOverUploadResponse, Error> {
    let (terms, _) = open(rpc, &request.handle)?;
    let (epoch, offset) = rpc.store.take_over(&terms).await?;
    Ok(TakeOverUploadResponse { epoch, offset })
}

pub(super) async fn write_at(rpc: &Rpc, stream: Streaming<WriteAtRequest>) -> Result<WriteAtResponse, Error> {
    // What a caller who has gone away has brought is kept.
    let writing = tokio::spawn(go(rpc.clone(), stream).in_current_span());
    writing.await.map_err(|error| {
        tracing::error!(%error, "a write ended early");
        UploadError::from(WriteError::Failed)
    })?
}

async fn go(rpc: Rpc, mut stream: Streaming<WriteAtRequest>) -> Result<WriteAtResponse, Error> {
    let Some(Part::Header(header)) = next_part(&rpc, &mut stream).await? else {
        return Err(invalid("header", "must be the first message"));
    };
    let (terms, _) = open(&rpc, &header.handle)?;
    let mut writer = rpc.store.write_at(terms, header.epoch, header.offset).await?;
    let fenced = writer.fenced();
    let received = tokio::select! {
        biased;
        () = fenced => Ok(()),
        received = receive(&rpc, &mut stream, &mut writer) => received,
    };
    writer.check()?;
    match received {
        Ok(()) => Ok(WriteAtResponse { offset: writer.finish().await? }),
        Err(error) => {
            if matches!(error, Error::Truncated | Error::Idle) {
                writer.keep().await?;
            }
            Err(error)
        }
    }
}

async fn receive(
    rpc: &Rpc,
    stream: &mut Streaming<WriteAtRequest>,
    writer: &mut Writer,
) -> Result<(), Error> {
    let mut size = 0;
    loop {
        match next_part(rpc, stream).await? {
            Some(Part::Data(data)) => {
                size += data.len() as u64;
                writer.push(data).await?;
            }
            Some(Part::Finish(finish)) if finish.size == size => return Ok(()),
            Some(Part::Finish(_)) => return Err(UploadError::WrongSize.into()),
            Some(Part::Header(_)) => return Err(invalid("header", "must be the first message only")),
            None => return Err(Error::Truncated),
        }
    }
}

pub(super) async fn finish(rpc: &Rpc, request: &FinishUploadRequest) -> Result<FinishUploadResponse, Error> {
    let (terms, grant) = open(rpc, &request.handle)?;
    let digest = digest("digest", &request.digest)?;
    let now = rpc.clock.now();
    let written = rpc.store.finish_upload(&terms, request.epoch, request.size, digest).await?;
    let WriteResponse { receipt, size, digest } = rpc.receipt(&grant, &written, now);
    Ok(FinishUploadResponse { receipt, size, digest })
}

pub(super) async fn abort(rpc: &Rpc, request: &AbortUploadRequest) -> Result<AbortUploadResponse, Error> {
    let (terms, _) = open(rpc, &request.handle)?;
    rpc.store.abort_upload(&terms).await?;
    Ok(AbortUploadResponse {})
}

/// What a handle says, if it is good now: the upload, and the grant that it was begun with.
fn open(rpc: &Rpc, sealed: &Bytes) -> Result<(Terms, WriteGrant), Error> {
    let handle: UploadHandle = rpc.keys.open(sealed, rpc.clock.now())?;
    let id = BlobId::parse(&handle.blob_id).ok_or(GrantError::Malformed)?;
    let UploadHandle { space_id, max_size, expires_at_us, upload_id, .. } = handle;
    let grant = WriteGrant { space_id, max_size, expires_at_us, upload_id };
    Ok((Terms { id, space: space(&grant), limit: max_size, expires_at: expires_at_us }, grant))
}

/// The next part, or `None` at the end of the stream. A message that holds none counts as empty content.
async fn next_part(rpc: &Rpc, stream: &mut Streaming<WriteAtRequest>) -> Result<Option<Part>, Error> {
    let message = next(stream, rpc.idle_timeout).await?;
    Ok(message.map(|message| message.part.unwrap_or(Part::Data(Bytes::new()))))
}
