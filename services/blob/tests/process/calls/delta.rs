//! Content of which a part is there already.

use bytes::Bytes;
use holdall_blob::domain::cut::Cutter;
use holdall_proto::blob::v1::write_delta_request::Part;
use holdall_proto::blob::v1::write_delta_response::Part as Answer;
use holdall_proto::blob::v1::{
    DeltaChunks, WriteDeltaFinish, WriteDeltaHeader, WriteDeltaRequest, WriteDeltaResponse,
};
use holdall_proto::grant::KeyRing;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{MESSAGE, grant, name};
use crate::home::Client;

/// Writes content, and returns the name that it has now, and how many bytes of it were sent.
pub async fn write(keys: &KeyRing, client: &mut Client, content: &Bytes) -> Result<(String, usize), Status> {
    let chunks = cut(content);
    let (sender, messages) = mpsc::channel(4);
    let messages = futures::stream::unfold(messages, async |mut messages| {
        messages.recv().await.map(|message| (message, messages))
    });
    let mut answers = client.write_delta(messages).await?.into_inner();
    // Whether it was taken the answers will tell.
    let send = async |part| drop(sender.send(WriteDeltaRequest { part: Some(part) }).await);

    let (size, chunk_count) = (content.len() as u64, u32::try_from(chunks.len()).unwrap());
    send(Part::Header(WriteDeltaHeader { grant: grant(keys), size, chunk_count })).await;
    let mut entries = Vec::new();
    for chunk in &chunks {
        entries.extend(blake3::hash(chunk).as_bytes());
        entries.extend(u32::try_from(chunk.len()).unwrap().to_le_bytes());
    }
    send(Part::Chunks(DeltaChunks { entries: entries.into() })).await;
    let missing = match next(&mut answers).await? {
        Answer::Missing(missing) => missing.numbers,
        Answer::Written(response) => panic!("it is written before it was sent: {response:?}"),
    };
    let mut sent = 0;
    for number in missing {
        let chunk = chunks.get(number as usize).expect("a chunk that was named");
        sent += chunk.len();
        for start in (0..chunk.len()).step_by(MESSAGE) {
            send(Part::Data(chunk.slice(start..chunk.len().min(start + MESSAGE)))).await;
        }
    }
    let digest = Bytes::copy_from_slice(blake3::hash(content).as_bytes());
    send(Part::Finish(WriteDeltaFinish { digest })).await;
    match next(&mut answers).await? {
        Answer::Written(response) => Ok((name(keys, &response.receipt), sent)),
        Answer::Missing(missing) => panic!("nothing was asked: {missing:?}"),
    }
}

async fn next(answers: &mut Streaming<WriteDeltaResponse>) -> Result<Answer, Status> {
    let answer = answers.message().await?.ok_or_else(|| Status::unknown("the answers have ended"))?;
    Ok(answer.part.unwrap())
}

/// The chunks of content.
fn cut(content: &Bytes) -> Vec<Bytes> {
    let (mut cutter, mut chunks, mut start, mut at) = (Cutter::default(), Vec::new(), 0, 0);
    while let Some(len) = cutter.scan(&content.slice(at..)) {
        at += len;
        chunks.push(content.slice(start..at));
        start = at;
    }
    if start < content.len() {
        chunks.push(content.slice(start..));
    }
    chunks
}
