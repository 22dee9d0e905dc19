//! Content of which a part is there already.

use std::ops::Range;
use std::time::Duration;

use holdall_proto::blob::v1::write_delta_request::Part as Sent;
use holdall_proto::blob::v1::write_delta_response::Part as Answered;
use holdall_proto::blob::v1::{
    DeltaChunks, GetChunkingRequest, GetChunkingResponse, WriteDeltaFinish, WriteDeltaHeader,
    WriteDeltaRequest, WriteDeltaResponse,
};
use tonic::Streaming;

use super::*;

/// Cuts content with what the service says about it, and nothing else.
fn cut(chunking: &GetChunkingResponse, content: &[u8]) -> Vec<Range<usize>> {
    let size = |size: u32| size as usize;
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < content.len() {
        let rest = &content[start..];
        let (mut end, mut hash) = (size(chunking.min_size).min(rest.len()), 0_u64);
        while end < rest.len().min(size(chunking.max_size)) {
            hash = hash.wrapping_mul(2).wrapping_add(chunking.gear[usize::from(rest[end])]);
            let is_strict = end < size(chunking.average_size);
            if hash & if is_strict { chunking.strict_mask } else { chunking.loose_mask } == 0 {
                break;
            }
            end += 1;
        }
        chunks.push(start..start + end);
        start += end;
    }
    chunks
}

async fn chunking(service: &Service) -> GetChunkingResponse {
    client(service).get_chunking(GetChunkingRequest {}).await.unwrap().into_inner()
}

/// A call that is under way.
struct Call {
    sender: mpsc::Sender<WriteDeltaRequest>,
    answers: Streaming<WriteDeltaResponse>,
}

impl Call {
    async fn begin(service: &Service, grant: Bytes, size: u64, chunk_count: u32) -> Self {
        let (sender, messages) = mpsc::channel(1);
        let answers = client(service).write_delta(messages).await.unwrap().into_inner();
        let mut call = Self { sender, answers };
        call.send(Sent::Header(WriteDeltaHeader { grant, size, chunk_count })).await;
        call
    }

    async fn send(&mut self, part: Sent) {
        // Whether it was taken the answers will tell.
        let _ = self.sender.send(WriteDeltaRequest { part: Some(part) }).await;
    }

    async fn answer(&mut self) -> Result<Answered, Status> {
        Ok(self.answers.message().await?.expect("an answer").part.unwrap())
    }

    /// Names chunks; returns the numbers of those that have to be sent.
    async fn name(&mut self, chunks: &[(blake3::Hash, u32)]) -> Result<Vec<u32>, Status> {
        let mut entries = Vec::new();
        for (hash, size) in chunks {
            entries.extend(hash.as_bytes());
            entries.extend(size.to_le_bytes());
        }
        self.send(Sent::Chunks(DeltaChunks { entries: entries.into() })).await;
        match self.answer().await? {
            Answered::Missing(missing) => Ok(missing.numbers),
            Answered::Written(_) => panic!("nothing is written yet"),
        }
    }

    async fn finish(mut self, digest: &[u8]) -> Result<WriteResponse, Status> {
        self.send(Sent::Finish(WriteDeltaFinish { digest: Bytes::copy_from_slice(digest) })).await;
        match self.answer().await? {
            Answered::Written(response) => Ok(response),
            Answered::Missing(_) => panic!("nothing was asked"),
        }
    }
}

fn named(content: &[u8], chunks: &[Range<usize>]) -> Vec<(blake3::Hash, u32)> {
    chunks.iter().map(|chunk| (blake3::hash(&content[chunk.clone()]), chunk.len() as u32)).collect()
}

/// Writes content as a client should. Returns the answer, and how many bytes of content were sent.
async fn write_delta(
    service: &Service,
    grant: Bytes,
    content: &[u8],
) -> Result<(WriteResponse, usize), Status> {
    let chunks = cut(&chunking(service).await, content);
    let mut call = Call::begin(service, grant, content.len() as u64, chunks.len() as u32).await;
    let (mut missing, mut sent) = (Vec::new(), 0);
    for names in named(content, &chunks).chunks(3) {
        missing.extend(call.name(names).await?);
    }
    for number in missing {
        let chunk = &content[chunks[number as usize].clone()];
        sent += chunk.len();
        for data in chunk.chunks(256 << 10) {
            call.send(Sent::Data(Bytes::copy_from_slice(data))).await;
        }
    }
    Ok((call.finish(blake3::hash(content).as_bytes()).await?, sent))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_says_is_how_it_cuts() {
    let home = Home::new();
    let service = home.start().await;
    let chunking = chunking(&service).await;
    assert_eq!((&*chunking.algorithm, &*chunking.hash), ("fastcdc-v2020", "blake3-256"));
    for content in [noise(1, 12 << 20), vec![0; 9 << 20], noise(2, 1000), noise(3, 256 << 10)] {
        let mut cutter = domain::cut::Cutter::default();
        let (mut ends, mut at) = (Vec::new(), 0);
        while let Some(end) = cutter.scan(&content[at..]) {
            at += end;
            ends.push(at);
        }
        ends.push(content.len());
        ends.dedup();
        assert_eq!(cut(&chunking, &content).into_iter().map(|chunk| chunk.end).collect::<Vec<_>>(), ends);
    }
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_missing_is_sent() {
    let home = Home::new();
    let service = home.start().await;
    let grant = || home.write_grant(1 << 30);
    let mut content = noise(1, 40 << 20);
    write(&service, grant(), &content).await.unwrap();
    let (_, sent) = write_delta(&service, grant(), &content).await.unwrap();
    assert_eq!(sent, 0, "all of it is there");
    let middle = noise(2, 1 << 20);
    content.splice((20 << 20)..(21 << 20) + 7, middle);
    let (response, sent) = write_delta(&service, grant(), &content).await.unwrap();
    assert!((1 << 20..8 << 20).contains(&sent), "{sent}");
    let receipt = home.receipt(&response);
    assert_eq!(
        (receipt.size, &receipt.digest[..]),
        (content.len() as u64, &blake3::hash(&content).as_bytes()[..])
    );
    assert_eq!((receipt.space_id, receipt.upload_id), (write_grant(0).space_id, write_grant(0).upload_id));
    assert!(read(&service, home.read_grant(&receipt.blob_id), 0, 0).await.unwrap() == content);
    // What came this way counts as well, small and empty content included.
    for content in [content, noise(3, 1000), Vec::new()] {
        write_delta(&service, grant(), &content).await.unwrap();
        let (response, sent) = write_delta(&service, grant(), &content).await.unwrap();
        assert_eq!(sent, 0);
        let id = home.receipt(&response).blob_id;
        assert!(read(&service, home.read_grant(&id), 0, 0).await.unwrap() == content);
    }
    // The same chunk many times is sent once.
    let (_, sent) = write_delta(&service, grant(), &vec![7; 20 << 20]).await.unwrap();
    assert_eq!(sent, 4 << 20);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_hold_has_to_be_sent_and_is_stored_once() {
    let home = Home::new();
    let service = home.start().await;
    let content = noise(1, 6 << 20);
    write(&service, home.write_grant(1 << 30), &content).await.unwrap();
    let chunks = service.counters().chunks.load(std::sync::atomic::Ordering::Relaxed);
    let spaces = [uuid::Uuid::from_u128(9).to_string(), String::new(), "no space".to_owned()];
    for space_id in spaces {
        let grant = WriteGrant { space_id, ..write_grant(1 << 30) };
        let (response, sent) = write_delta(&service, home.keys.seal(&grant), &content).await.unwrap();
        assert_eq!(sent, content.len());
        let id = home.receipt(&response).blob_id;
        assert!(read(&service, home.read_grant(&id), 0, 0).await.unwrap() == content);
    }
    assert_eq!(service.counters().chunks.load(std::sync::atomic::Ordering::Relaxed), chunks);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused() {
    let home = Home::new();
    let service = home.start().await;
    let grant = || home.write_grant(10 << 20);
    let content = noise(1, 6 << 20);
    let chunks = cut(&chunking(&service).await, &content);
    let names = named(&content, &chunks);
    let (size, count) = (content.len() as u64, names.len() as u32);
    let begin = async |size, count| Call::begin(&service, grant(), size, count).await;
    let invalid = |reason| (Code::InvalidArgument, reason);
    let end = async |mut call: Call, (code, reason): (Code, &str)| {
        refused(call.answer().await, code, reason);
    };

    end(begin((10 << 20) + 1, count).await, (Code::ResourceExhausted, "TOO_LARGE")).await;
    end(begin(size, u32::MAX).await, (Code::ResourceExhausted, "TOO_LARGE")).await;
    for (size, count) in [(0, 1), (1, 0)] {
        end(begin(size, count).await, invalid("TRUNCATED")).await;
    }
    for grant in [Bytes::new(), home.read_grant("x"), KeyRing::new(&[1; 32]).seal(&write_grant(9))] {
        let call = Call::begin(&service, grant, size, count).await;
        end(call, (Code::Unauthenticated, "GRANT_INVALID")).await;
    }

    // Names that do not add up.
    let mut small = names.clone();
    small[1].1 = 1;
    let mut none = names.clone();
    none[1].1 = 0;
    let mut large = names.clone();
    large[1].1 = (4 << 20) + 1;
    for (size, count, names, reason) in [
        (size + 1, count, &names, "TRUNCATED"),
        (size - 1, count, &names, "TRUNCATED"),
        (size, count - 1, &names, "TRUNCATED"),
        (size - u64::from(names[1].1) + 1, count, &small, "TRUNCATED"),
        (size, count, &none, "INVALID_FIELD"),
        (size, count, &large, "INVALID_FIELD"),
    ] {
        let mut call = begin(size, count).await;
        refused(call.name(names).await, Code::InvalidArgument, reason);
    }
    let mut call = begin(size, count).await;
    call.send(Sent::Chunks(DeltaChunks { entries: Bytes::from_static(&[0; 35]) })).await;
    end(call, invalid("INVALID_FIELD")).await;
    let mut call = begin(size, count).await;
    call.send(Sent::Data(Bytes::from_static(b"too early"))).await;
    end(call, invalid("INVALID_FIELD")).await;
    let mut call = begin(size, count).await;
    call.name(&names).await.unwrap();
    refused(call.name(&names).await, Code::InvalidArgument, "INVALID_FIELD");

    // Content that is not what it was named, is too much or too little.
    let after_names = async |sent: &[u8]| {
        let mut call = begin(size, count).await;
        assert_eq!(call.name(&names).await.unwrap().len(), names.len());
        for data in sent.chunks(256 << 10) {
            call.send(Sent::Data(Bytes::copy_from_slice(data))).await;
        }
        call
    };
    let mut other = content.clone();
    other[100] ^= 1;
    refused(after_names(&other).await.finish(&[]).await, Code::InvalidArgument, "DIGEST_MISMATCH");
    let more = [&content[..], b"x"].concat();
    refused(after_names(&more).await.finish(&[]).await, Code::ResourceExhausted, "TOO_LARGE");
    let less = &content[..content.len() - 1];
    refused(after_names(less).await.finish(&[]).await, Code::InvalidArgument, "TRUNCATED");
    let mut call = after_names(&content).await;
    call.sender.disconnect();
    end(call, invalid("TRUNCATED")).await;
    refused(after_names(&content).await.finish(&[7; 31]).await, Code::InvalidArgument, "INVALID_FIELD");
    refused(after_names(&content).await.finish(&[7; 32]).await, Code::InvalidArgument, "DIGEST_MISMATCH");
    assert_eq!(service.counters().blobs.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(after_names(&content).await.finish(&[]).await.is_ok());
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_found_and_asked_for_the_next_time() {
    let home = Home::new();
    let service = home.start().await;
    let content = noise(1, 6 << 20);
    write(&service, home.write_grant(1 << 30), &content).await.unwrap();
    for entry in std::fs::read_dir(home.dir.path().join("blob/packs")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    }
    let result = write_delta(&service, home.write_grant(1 << 30), &content).await;
    refused(result, Code::DataLoss, "CORRUPT");
    // Word of the damage gets around.
    let trying = async {
        loop {
            match write_delta(&service, home.write_grant(1 << 30), &content).await {
                Ok(written) => break written,
                result => drop(refused(result, Code::DataLoss, "CORRUPT")),
            }
        }
    };
    let (response, sent) = tokio::time::timeout(Duration::from_secs(20), trying).await.unwrap();
    assert!((1..5 << 20).contains(&sent), "{sent}");
    let id = home.receipt(&response).blob_id;
    assert!(read(&service, home.read_grant(&id), 0, 0).await.unwrap() == content);
    service.close().await;
}
