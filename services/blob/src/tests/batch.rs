//! Many small files in one call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use holdall_proto::blob::v1::batch_result::Result as Outcome;
use holdall_proto::blob::v1::{BatchFile, WriteBatchRequest, WriteBatchResponse};
use holdall_proto::error::v1::Reason;
use tonic::Streaming;

use super::*;

fn file(grant: &Bytes, data: Vec<u8>) -> BatchFile {
    BatchFile { grant: grant.clone(), data: data.into(), digest: Bytes::new() }
}

/// The next `count` results.
async fn results(answer: &mut Streaming<WriteBatchResponse>, count: usize) -> Vec<Outcome> {
    let mut results = Vec::new();
    while results.len() < count {
        let message = answer.message().await.unwrap().expect("a result for each file");
        results.extend(message.results.into_iter().map(|result| result.result.unwrap()));
    }
    assert_eq!(results.len(), count);
    results
}

fn written(outcome: Outcome) -> WriteResponse {
    match outcome {
        Outcome::Written(response) => response,
        Outcome::Error(error) => panic!("{error:?}"),
    }
}

async fn batch(
    service: &Service,
    messages: Vec<Vec<BatchFile>>,
) -> Result<Streaming<WriteBatchResponse>, Status> {
    let messages = messages.into_iter().map(|files| WriteBatchRequest { files });
    client(service).write_batch(futures::stream::iter(messages)).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_gets_its_receipt_in_order_and_flushes_are_shared() {
    const FILES: usize = 600;
    let home = Home::new();
    let service = home.start().await;
    let contents: Vec<_> = (0..FILES).map(|seed| noise(seed as u64, 1 + seed * 7)).collect();
    let messages = contents.chunks(40).map(|contents| {
        contents.iter().map(|content| file(&home.write_grant(1 << 20), content.clone())).collect()
    });
    let mut answer = batch(&service, messages.collect()).await.unwrap();
    for (content, outcome) in contents.iter().zip(results(&mut answer, FILES).await) {
        let response = written(outcome);
        let receipt = home.receipt(&response);
        assert_eq!((response.size, receipt.size), (content.len() as u64, content.len() as u64));
        assert_eq!(&receipt.digest[..], blake3::hash(content).as_bytes());
        assert_eq!(
            (receipt.space_id, receipt.upload_id),
            (write_grant(0).space_id, write_grant(0).upload_id)
        );
        assert_eq!(&read(&service, home.read_grant(&receipt.blob_id), 0, 0).await.unwrap(), content);
    }
    assert!(answer.message().await.unwrap().is_none());
    let flushes = service.counters().flushes.load(Ordering::Relaxed);
    assert!(flushes < FILES as u64 / 10, "{flushes} flushes");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_fails_spoils_no_other() {
    let home = Home::new();
    let service = home.start().await;
    let grant = home.write_grant(300 << 10);
    let good = || file(&grant, noise(1, 1000));
    let with_digest = |digest: &[u8]| BatchFile { digest: Bytes::copy_from_slice(digest), ..good() };
    let expired = WriteGrant { expires_at_us: NOW, ..write_grant(1000) };
    let cases = [
        (good(), None),
        (with_digest(blake3::hash(&noise(1, 1000)).as_bytes()), None),
        (with_digest(&[7; 32]), Some(Reason::DigestMismatch)),
        (with_digest(&[7; 31]), Some(Reason::InvalidField)),
        (file(&home.write_grant(999), noise(1, 1000)), Some(Reason::TooLarge)),
        (file(&grant, noise(1, (256 << 10) + 1)), Some(Reason::TooLarge)),
        (file(&Bytes::from_static(b"rubbish"), noise(1, 1)), Some(Reason::GrantInvalid)),
        (file(&Bytes::new(), noise(1, 1)), Some(Reason::GrantInvalid)),
        (file(&home.keys.seal(&expired), noise(1, 1)), Some(Reason::GrantInvalid)),
        (file(&home.read_grant("x"), noise(1, 1)), Some(Reason::GrantInvalid)),
        (file(&grant, noise(1, 256 << 10)), None),
        (file(&Bytes::new(), Vec::new()), None),
    ];
    let (files, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let mut answer = batch(&service, files.into_iter().map(|file| vec![file]).collect()).await.unwrap();
    let outcomes = results(&mut answer, expected.len()).await;
    let reasons: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Written(_) => None,
            Outcome::Error(error) => {
                assert!(!error.message.is_empty());
                Some(error.reason())
            }
        })
        .collect();
    assert_eq!(reasons, expected);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_serves_the_files_behind_it_until_it_expires() {
    let home = Home::new();
    let service = home.start().await;
    let (mut sender, messages) = mpsc::channel(1);
    let send = async |sender: &mut mpsc::Sender<WriteBatchRequest>, grant: Bytes| {
        let files = vec![file(&grant, b"123".to_vec())];
        sender.send(WriteBatchRequest { files }).await.unwrap();
    };
    send(&mut sender, Bytes::new()).await;
    let mut answer = client(&service).write_batch(messages).await.unwrap().into_inner();
    let refused = |outcomes: Vec<Outcome>| match &outcomes[..] {
        [Outcome::Error(error)] => assert_eq!(error.reason(), Reason::GrantInvalid),
        other => panic!("{other:?}"),
    };
    refused(results(&mut answer, 1).await);
    let grant = home.write_grant(3);
    for grant in [grant.clone(), Bytes::new(), grant, Bytes::new()] {
        send(&mut sender, grant).await;
        written(results(&mut answer, 1).await.remove(0));
    }
    home.clock.set(NOW + HOUR);
    send(&mut sender, Bytes::new()).await;
    refused(results(&mut answer, 1).await);
    drop(sender);
    assert!(answer.message().await.unwrap().is_none());
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_breaks_keeps_what_has_arrived() {
    let mut home = Home::new();
    home.config.uploads.idle_timeout = HumanDuration::from_millis(200);
    let service = home.start().await;
    let grant = home.write_grant(3);
    let good = || vec![file(&grant, b"123".to_vec())];

    // Too many files in a message.
    let mut answer = batch(&service, vec![good(), vec![BatchFile::default(); 1025], good()]).await.unwrap();
    written(results(&mut answer, 1).await.remove(0));
    refused(answer.message().await, Code::InvalidArgument, "INVALID_FIELD");

    // Silence.
    let (mut sender, messages) = mpsc::channel(1);
    sender.send(WriteBatchRequest { files: good() }).await.unwrap();
    let mut answer = client(&service).write_batch(messages).await.unwrap().into_inner();
    written(results(&mut answer, 1).await.remove(0));
    refused(answer.message().await, Code::InvalidArgument, "TRUNCATED");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_no_results_is_stopped_and_keeps_nobody_waiting() {
    let mut home = Home::new();
    home.config.uploads.small_memory = holdall_runtime::config::ByteSize::new(1 << 20);
    home.config.uploads.idle_timeout = HumanDuration::from_secs(2);
    let service = home.start().await;
    let (mut sender, messages) = mpsc::channel(0);
    let grant = home.write_grant(256 << 10);
    let answer = client(&service).write_batch(messages).await.unwrap().into_inner();
    let mut sent = 0;
    let mut write_file = async |seed: u64| {
        let files = vec![file(&grant, noise(seed, 200 << 10))];
        sender.send(WriteBatchRequest { files }).await.is_ok()
    };
    // The results of so many files fit into no window.
    while tokio::time::timeout(Duration::from_secs(1), write_file(sent)).await == Ok(true) {
        sent += 1;
        assert!(sent < 10_000);
    }
    let content = noise(99_999, 200 << 10);
    assert!(write(&service, home.write_grant(1 << 20), &content).await.is_ok());
    drop(answer);
    service.close().await;
}
