//! The calls of the service, as somebody with the key makes them.

pub mod batch;
pub mod delta;
pub mod resume;

use blake3::Hash;
use bytes::Bytes;
use futures::Stream;
use holdall_proto::blob::v1::write_request::Part;
use holdall_proto::blob::v1::{
    ReadGrant, ReadRequest, Receipt, WriteFinish, WriteGrant, WriteHeader, WriteRequest,
};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use tonic::Status;

use crate::home::Client;

const MESSAGE: usize = 256 << 10;
const HOUR: i64 = 3_600_000_000;
/// Whose content all of it is.
const SPACE: &str = "01890000-0000-7000-8000-000000000000";

fn now() -> i64 {
    Clock::System.now()
}

/// Leave to write anything.
fn grant(keys: &KeyRing) -> Bytes {
    let (max_size, expires_at_us) = (u64::MAX, now() + HOUR);
    keys.seal(&WriteGrant { max_size, space_id: SPACE.to_owned(), expires_at_us, ..WriteGrant::default() })
}

/// The name of the blob that a receipt is for.
fn name(keys: &KeyRing, receipt: &[u8]) -> String {
    keys.open::<Receipt>(receipt, now()).unwrap().blob_id
}

/// The first message of a write.
pub fn header(keys: &KeyRing) -> WriteRequest {
    WriteRequest { part: Some(Part::Header(WriteHeader { grant: grant(keys), size: None })) }
}

/// The messages with content.
pub fn data(content: Bytes) -> impl Iterator<Item = WriteRequest> + Send {
    let starts = (0..content.len()).step_by(MESSAGE);
    starts.map(move |start| {
        let data = content.slice(start..content.len().min(start + MESSAGE));
        WriteRequest { part: Some(Part::Data(data)) }
    })
}

/// The last message.
pub fn finish(size: usize) -> WriteRequest {
    WriteRequest { part: Some(Part::Finish(WriteFinish { size: size as u64, digest: Bytes::new() })) }
}

/// Writes content, and returns the name that it has now.
pub async fn write(keys: &KeyRing, client: &mut Client, content: Bytes) -> Result<String, Status> {
    let size = content.len();
    let messages = [header(keys)].into_iter().chain(data(content)).chain([finish(size)]);
    send(keys, client, futures::stream::iter(messages)).await
}

/// Writes what a stream of messages says.
pub async fn send(
    keys: &KeyRing,
    client: &mut Client,
    messages: impl Stream<Item = WriteRequest> + Send + 'static,
) -> Result<String, Status> {
    let response = client.write(messages).await?.into_inner();
    Ok(name(keys, &response.receipt))
}

/// Reads a blob from `offset` on. Content that came before an error is returned with it.
pub async fn read_until(
    keys: &KeyRing,
    client: &mut Client,
    blob_id: &str,
    offset: u64,
) -> (Vec<u8>, Result<(), Status>) {
    let mut content = Vec::new();
    let mut answer = match client.read(request(keys, blob_id, offset)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return (content, Err(status)),
    };
    loop {
        match answer.message().await {
            Ok(Some(message)) => content.extend(message.data),
            Ok(None) => return (content, Ok(())),
            Err(status) => return (content, Err(status)),
        }
    }
}

/// Reads all of a blob.
pub async fn read(keys: &KeyRing, client: &mut Client, blob_id: &str) -> Result<Vec<u8>, Status> {
    let (content, end) = read_until(keys, client, blob_id, 0).await;
    end.map(|()| content)
}

/// Reads all of a blob, and returns how much that is and its BLAKE3-256.
pub async fn digest(keys: &KeyRing, client: &mut Client, blob_id: &str) -> Result<(u64, Hash), Status> {
    let mut answer = client.read(request(keys, blob_id, 0)).await?.into_inner();
    let (mut size, mut hasher) = (0, blake3::Hasher::new());
    while let Some(message) = answer.message().await? {
        size += message.data.len() as u64;
        hasher.update(&message.data);
    }
    Ok((size, hasher.finalize()))
}

fn request(keys: &KeyRing, blob_id: &str, offset: u64) -> ReadRequest {
    let grant = ReadGrant { blob_id: blob_id.to_owned(), expires_at_us: now() + HOUR };
    ReadRequest { grant: keys.seal(&grant), offset, length: 0 }
}
