//! Many small files in one stream.

use bytes::Bytes;
use holdall_proto::blob::v1::batch_result::Result as Outcome;
use holdall_proto::blob::v1::{BatchFile, WriteBatchRequest};
use holdall_proto::grant::KeyRing;
use tonic::Status;

use super::{MESSAGE, grant, name};
use crate::home::Client;

/// Writes contents and tells the name of each, in their order, as soon as it is known.
pub async fn write(
    keys: &KeyRing,
    client: &mut Client,
    contents: &[Bytes],
    mut written: impl FnMut(String),
) -> Result<(), Status> {
    let mut answer = client.write_batch(futures::stream::iter(messages(keys, contents))).await?.into_inner();
    let mut count = 0;
    while let Some(message) = answer.message().await? {
        for result in message.results {
            match result.result.unwrap() {
                Outcome::Written(response) => written(name(keys, &response.receipt)),
                Outcome::Error(error) => return Err(Status::unknown(format!("{error:?}"))),
            }
            count += 1;
        }
    }
    assert_eq!(count, contents.len(), "a stream that ends in order has all results");
    Ok(())
}

fn messages(keys: &KeyRing, contents: &[Bytes]) -> Vec<WriteBatchRequest> {
    let mut messages = vec![WriteBatchRequest::default()];
    let mut bytes = 0;
    for content in contents {
        if bytes + content.len() > MESSAGE {
            messages.push(WriteBatchRequest::default());
            bytes = 0;
        }
        bytes += content.len();
        let digest = Bytes::copy_from_slice(blake3::hash(content).as_bytes());
        let file = BatchFile { grant: grant(keys), data: content.clone(), digest };
        messages.last_mut().unwrap().files.push(file);
    }
    messages
}
