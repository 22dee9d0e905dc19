//! Uploads in several goes.

use bytes::Bytes;
use holdall_proto::blob::v1::write_at_request::Part;
use holdall_proto::blob::v1::{
    AbortUploadRequest, FinishUploadRequest, GetUploadRequest, StartUploadRequest, TakeOverUploadRequest,
    WriteAtFinish, WriteAtHeader, WriteAtRequest,
};
use holdall_proto::grant::KeyRing;
use tonic::Status;

use super::{MESSAGE, grant, name};
use crate::home::Client;

/// Begins one, and returns its handle and the epoch to write in.
pub async fn start(keys: &KeyRing, client: &mut Client) -> Result<(Bytes, i64), Status> {
    let request = StartUploadRequest { grant: grant(keys), size: None };
    let response = client.start_upload(request).await?.into_inner();
    Ok((response.handle, response.epoch))
}

/// Where one stands, and whether it is complete.
pub async fn get(client: &mut Client, handle: &Bytes) -> Result<(u64, bool), Status> {
    let response = client.get_upload(GetUploadRequest { handle: handle.clone() }).await?.into_inner();
    Ok((response.offset, response.complete))
}

/// Takes one over, and returns the epoch to write in and where it stands.
pub async fn take_over(client: &mut Client, handle: &Bytes) -> Result<(i64, u64), Status> {
    let request = TakeOverUploadRequest { handle: handle.clone() };
    let response = client.take_over_upload(request).await?.into_inner();
    Ok((response.epoch, response.offset))
}

/// Adds to one, and returns where it stands then.
pub async fn write_at(
    client: &mut Client,
    handle: &Bytes,
    epoch: i64,
    offset: u64,
    content: Bytes,
) -> Result<u64, Status> {
    let size = content.len() as u64;
    let starts = (0..content.len()).step_by(MESSAGE);
    let data = starts.map(move |start| Part::Data(content.slice(start..content.len().min(start + MESSAGE))));
    let header = Part::Header(WriteAtHeader { handle: handle.clone(), epoch, offset });
    let parts = [header].into_iter().chain(data).chain([Part::Finish(WriteAtFinish { size })]);
    let messages = parts.map(|part| WriteAtRequest { part: Some(part) });
    Ok(client.write_at(futures::stream::iter(messages)).await?.into_inner().offset)
}

/// Finishes one, and returns the name of the blob.
pub async fn finish(
    keys: &KeyRing,
    client: &mut Client,
    handle: &Bytes,
    epoch: i64,
    content: &Bytes,
) -> Result<String, Status> {
    let digest = Bytes::copy_from_slice(blake3::hash(content).as_bytes());
    let request = FinishUploadRequest { handle: handle.clone(), epoch, size: content.len() as u64, digest };
    let response = client.finish_upload(request).await?.into_inner();
    Ok(name(keys, &response.receipt))
}

/// Gives one up.
pub async fn abort(client: &mut Client, handle: &Bytes) -> Result<(), Status> {
    client.abort_upload(AbortUploadRequest { handle: handle.clone() }).await.map(drop)
}
