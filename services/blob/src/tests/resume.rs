//! Uploads in several goes.

use std::time::Duration;

use holdall_proto::blob::v1::write_at_request::Part as At;
use holdall_proto::blob::v1::{
    AbortUploadRequest, FinishUploadRequest, FinishUploadResponse, GetUploadRequest, StartUploadRequest,
    StartUploadResponse, TakeOverUploadRequest, TakeOverUploadResponse, UploadHandle, WriteAtFinish,
    WriteAtHeader, WriteAtRequest,
};
use holdall_runtime::status::metadata_of;
use holdall_runtime::testing::eventually;

use super::*;

/// A service, and an upload in it.
struct Uploading<'a> {
    service: &'a Service,
    handle: Bytes,
}

impl<'a> Uploading<'a> {
    async fn begin(service: &'a Service, grant: Bytes) -> Self {
        let started = start(service, grant, None).await.unwrap();
        assert_eq!((started.epoch, started.expires_at_us), (1, NOW + HOUR));
        Self { service, handle: started.handle }
    }

    fn at(&self, epoch: i64, offset: u64) -> At {
        At::Header(WriteAtHeader { handle: self.handle.clone(), epoch, offset })
    }

    async fn send(&self, parts: Vec<At>) -> Result<u64, Status> {
        let messages = parts.into_iter().map(|part| WriteAtRequest { part: Some(part) });
        let response = client(self.service).write_at(futures::stream::iter(messages)).await?;
        Ok(response.into_inner().offset)
    }

    async fn write(&self, epoch: i64, offset: u64, content: &[u8]) -> Result<u64, Status> {
        let mut parts = vec![self.at(epoch, offset)];
        parts.extend(data(content));
        parts.push(At::Finish(WriteAtFinish { size: content.len() as u64 }));
        self.send(parts).await
    }

    async fn get(&self) -> Result<(u64, bool), Status> {
        let request = GetUploadRequest { handle: self.handle.clone() };
        let response = client(self.service).get_upload(request).await?.into_inner();
        Ok((response.offset, response.complete))
    }

    async fn take_over(&self) -> Result<TakeOverUploadResponse, Status> {
        let request = TakeOverUploadRequest { handle: self.handle.clone() };
        Ok(client(self.service).take_over_upload(request).await?.into_inner())
    }

    async fn finish(&self, epoch: i64, size: u64, digest: &[u8]) -> Result<FinishUploadResponse, Status> {
        let (handle, digest) = (self.handle.clone(), Bytes::copy_from_slice(digest));
        let request = FinishUploadRequest { handle, epoch, size, digest };
        Ok(client(self.service).finish_upload(request).await?.into_inner())
    }

    async fn abort(&self) -> Result<(), Status> {
        let request = AbortUploadRequest { handle: self.handle.clone() };
        client(self.service).abort_upload(request).await.map(drop)
    }
}

fn data(content: &[u8]) -> impl Iterator<Item = At> {
    content.chunks(256 << 10).map(|data| At::Data(Bytes::copy_from_slice(data)))
}

async fn start(service: &Service, grant: Bytes, size: Option<u64>) -> Result<StartUploadResponse, Status> {
    Ok(client(service).start_upload(StartUploadRequest { grant, size }).await?.into_inner())
}

fn receipt(home: &Home, response: &FinishUploadResponse) -> Receipt {
    let receipt: Receipt = home.keys.open(&response.receipt, NOW).unwrap();
    assert_eq!((receipt.size, &receipt.digest), (response.size, &response.digest));
    receipt
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_several_goes_becomes_one_blob() {
    let home = Home::new();
    let service = home.start().await;
    let content = noise(1, 8 << 20);
    let upload = Uploading::begin(&service, home.write_grant(u64::MAX)).await;
    assert_eq!(upload.get().await.unwrap(), (0, false));
    let mut at = 0;
    for len in [0, 1, 1000, 300 << 10, 0, 5 << 20, 70_000] {
        let go = &content[at..at + len];
        assert_eq!(upload.write(1, at as u64, go).await.unwrap(), (at + len) as u64);
        at += len;
        assert_eq!(upload.get().await.unwrap(), (at as u64, false));
    }
    let (content, size) = (&content[..at], at as u64);
    let digest = blake3::hash(content);
    refused(upload.finish(1, size + 1, &[]).await, Code::InvalidArgument, "TRUNCATED");
    refused(upload.finish(1, size, &[7; 32]).await, Code::InvalidArgument, "DIGEST_MISMATCH");
    refused(upload.finish(1, size, &[7; 31]).await, Code::InvalidArgument, "INVALID_FIELD");
    let first = receipt(&home, &upload.finish(1, size, digest.as_bytes()).await.unwrap());
    assert_eq!((first.size, &first.digest[..]), (size, &digest.as_bytes()[..]));
    let grant = write_grant(0);
    assert_eq!((&first.space_id, &first.upload_id), (&grant.space_id, &grant.upload_id));
    assert!(read(&service, home.read_grant(&first.blob_id), 0, 0).await.unwrap() == content);

    // The answer may have been lost. No other can be had.
    assert_eq!(receipt(&home, &upload.finish(1, size, &[]).await.unwrap()).blob_id, first.blob_id);
    refused(upload.finish(1, size - 1, &[]).await, Code::InvalidArgument, "TRUNCATED");
    refused(upload.finish(1, size, &[7; 32]).await, Code::InvalidArgument, "DIGEST_MISMATCH");
    assert_eq!(upload.get().await.unwrap(), (size, true));
    let complete = (Code::FailedPrecondition, "UPLOAD_COMPLETE");
    refused(upload.write(1, size, b"more").await, complete.0, complete.1);
    refused(upload.take_over().await, complete.0, complete.1);
    refused(upload.abort().await, complete.0, complete.1);

    // Nothing at all is content, too.
    let upload = Uploading::begin(&service, home.write_grant(0)).await;
    let empty = receipt(&home, &upload.finish(1, 0, &[]).await.unwrap());
    assert_eq!(read(&service, home.read_grant(&empty.blob_id), 0, 0).await.unwrap(), b"");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_restarts_and_the_index() {
    let home = Home::new();
    let content = noise(2, 9 << 20);
    let service = home.start().await;
    let upload = Uploading::begin(&service, home.write_grant(u64::MAX)).await;
    assert_eq!(upload.take_over().await.unwrap(), TakeOverUploadResponse { epoch: 2, offset: 0 });
    let (mut at, mut handle) = (0, upload.handle);
    service.close().await;
    for (restart, len) in [3 << 20, 1000, 4 << 20].into_iter().enumerate() {
        let service = home.start().await;
        let upload = Uploading { service: &service, handle };
        assert_eq!(upload.get().await.unwrap(), (at as u64, false));
        refused(upload.write(1, at as u64, b"x").await, Code::Aborted, "UPLOAD_FENCED");
        at += len;
        let go = &content[at - len..at];
        assert_eq!(upload.write(2, (at - len) as u64, go).await.unwrap(), at as u64);
        handle = upload.handle;
        service.close().await;
        if restart % 2 == 1 {
            std::fs::remove_file(home.dir.path().join("blob/index.db")).unwrap();
        }
    }
    let (content, size) = (&content[..at], at as u64);
    let service = home.start().await;
    let upload = Uploading { service: &service, handle };
    refused(upload.finish(2, size, &[7; 32]).await, Code::InvalidArgument, "DIGEST_MISMATCH");
    let digest = blake3::hash(content);
    let first = receipt(&home, &upload.finish(2, size, digest.as_bytes()).await.unwrap());
    let handle = upload.handle;
    service.close().await;
    std::fs::remove_file(home.dir.path().join("blob/index.db")).unwrap();
    let service = home.start().await;
    let upload = Uploading { service: &service, handle };
    assert_eq!(upload.get().await.unwrap(), (size, true));
    let again = receipt(&home, &upload.finish(2, size, digest.as_bytes()).await.unwrap());
    assert_eq!(again.blob_id, first.blob_id);
    assert!(read(&service, home.read_grant(&first.blob_id), 0, 0).await.unwrap() == content);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_starts_where_the_upload_ends() {
    let home = Home::new();
    let service = home.start().await;
    let upload = Uploading::begin(&service, home.write_grant(u64::MAX)).await;
    for (durable, wrong) in [(0, 1), (5, 0), (5, 6), (5, u64::MAX)] {
        if upload.get().await.unwrap().0 < durable {
            upload.write(1, 0, b"12345").await.unwrap();
        }
        let status = refused(upload.write(1, wrong, b"x").await, Code::OutOfRange, "OFFSET_MISMATCH");
        assert_eq!(metadata_of(&status, "offset"), Some(durable.to_string()));
    }
    // Of an announcement that does not hold nothing is kept.
    let parts = || vec![upload.at(1, 5), At::Data(Bytes::from_static(b"678"))];
    let claim = |size| [parts(), vec![At::Finish(WriteAtFinish { size })]].concat();
    refused(upload.send(claim(4)).await, Code::InvalidArgument, "TRUNCATED");
    refused(upload.send(parts()).await, Code::InvalidArgument, "TRUNCATED");
    for parts in [vec![], vec![At::Data(Bytes::new())], [parts(), parts()].concat()] {
        refused(upload.send(parts).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    assert_eq!(upload.get().await.unwrap(), (5, false));
    assert_eq!(upload.send(claim(3)).await.unwrap(), 8);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_stops_who_wrote_before() {
    let home = Home::new();
    let service = home.start().await;
    let upload = Uploading::begin(&service, home.write_grant(u64::MAX)).await;
    upload.write(1, 0, b"first").await.unwrap();

    // A stream that would never end.
    let (mut sender, messages) = mpsc::channel(0);
    let mut caller = client(&service);
    let slow = tokio::spawn(async move { caller.write_at(messages).await });
    for part in [upload.at(1, 5)].into_iter().chain(data(&noise(1, 9 << 20))) {
        sender.send(WriteAtRequest { part: Some(part) }).await.unwrap();
    }
    refused(upload.write(1, 5, b"x").await, Code::Aborted, "UPLOAD_BUSY");
    refused(upload.finish(1, 5, &[]).await, Code::Aborted, "UPLOAD_BUSY");
    let taken = upload.take_over().await.unwrap();
    assert_eq!(taken, TakeOverUploadResponse { epoch: 2, offset: 5 });
    refused(slow.await.unwrap(), Code::Aborted, "UPLOAD_FENCED");

    for epoch in [1, 3, 0, -1, i64::MAX] {
        refused(upload.write(epoch, 5, b"x").await, Code::Aborted, "UPLOAD_FENCED");
        refused(upload.finish(epoch, 5, &[]).await, Code::Aborted, "UPLOAD_FENCED");
    }
    assert_eq!(upload.get().await.unwrap(), (5, false));
    assert_eq!(upload.write(2, 5, b" second").await.unwrap(), 12);
    let receipt = receipt(&home, &upload.finish(2, 12, &[]).await.unwrap());
    assert_eq!(read(&service, home.read_grant(&receipt.blob_id), 0, 0).await.unwrap(), b"first second");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_one_gets_through() {
    const WRITERS: u64 = 8;
    let home = Home::new();
    let service = home.start().await;
    let upload = Uploading::begin(&service, home.write_grant(u64::MAX)).await;
    let mut expected: Vec<u8> = Vec::new();
    for round in 0..4 {
        let offset = expected.len() as u64;
        let contents: Vec<_> = (0..WRITERS).map(|seed| noise(round * WRITERS + seed, 700_000)).collect();
        let writes = contents.iter().map(|content| upload.write(1, offset, content));
        let mut winners = Vec::new();
        for (content, result) in contents.iter().zip(futures::future::join_all(writes).await) {
            match result {
                Ok(_) => winners.push(content),
                Err(status) => {
                    let reason = reason_of(&status).unwrap();
                    assert!(["UPLOAD_BUSY", "OFFSET_MISMATCH"].contains(&&*reason), "{status:?}");
                }
            }
        }
        assert_eq!(winners.len(), 1);
        expected.extend(winners[0]);
    }
    // Those who take over at the same time get different epochs, and one of them is the newest.
    let taken = futures::future::join_all((0..WRITERS).map(|_| upload.take_over())).await;
    let epochs: Vec<_> = taken.into_iter().filter_map(Result::ok).map(|taken| taken.epoch).collect();
    let newest = epochs.iter().copied().max().unwrap();
    assert_eq!(epochs.iter().filter(|epoch| **epoch == newest).count(), 1);
    let response = upload.finish(newest, expected.len() as u64, &[]).await.unwrap();
    let id = receipt(&home, &response).blob_id;
    assert!(read(&service, home.read_grant(&id), 0, 0).await.unwrap() == expected);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_stream_that_breaks_whole_chunks_are_kept() {
    let home = Home::new();
    let service = home.start().await;
    let content = noise(3, 12 << 20);
    let upload = Uploading::begin(&service, home.write_grant(u64::MAX)).await;
    let cut = || [upload.at(1, 0)].into_iter().chain(data(&content)).collect();
    refused(upload.send(cut()).await, Code::InvalidArgument, "TRUNCATED");
    let (offset, _) = upload.get().await.unwrap();
    assert!((4 << 20..=12 << 20).contains(&offset), "{offset}");

    // A caller who is simply gone.
    let (mut sender, messages) = mpsc::channel(0);
    let mut caller = client(&service);
    let gone = tokio::spawn(async move { caller.write_at(messages).await });
    let rest = noise(4, 12 << 20);
    for part in [upload.at(1, offset)].into_iter().chain(data(&rest)) {
        sender.send(WriteAtRequest { part: Some(part) }).await.unwrap();
    }
    gone.abort();
    drop(sender);
    eventually(Duration::from_secs(20), async || upload.get().await.unwrap().0 > offset).await;
    let taken = upload.take_over().await.unwrap();
    let expected = [&content[..offset as usize], &rest[..(taken.offset - offset) as usize]].concat();
    let response = upload.finish(taken.epoch, taken.offset, blake3::hash(&expected).as_bytes()).await;
    let id = receipt(&home, &response.unwrap()).blob_id;
    assert!(read(&service, home.read_grant(&id), 0, 0).await.unwrap() == expected);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_go_is_durable_bit_by_bit() {
    let home = Home::new();
    let service = home.start().await;
    let upload = Uploading::begin(&service, home.write_grant(u64::MAX)).await;
    let (mut sender, messages) = mpsc::channel(0);
    let mut caller = client(&service);
    let writing = tokio::spawn(async move { caller.write_at(messages).await });
    let content = noise(5, 80 << 20);
    for part in [upload.at(1, 0)].into_iter().chain(data(&content)) {
        sender.send(WriteAtRequest { part: Some(part) }).await.unwrap();
    }
    // It has not ended, and yet.
    eventually(Duration::from_secs(20), async || upload.get().await.unwrap().0 >= 32 << 20).await;
    let part = Some(At::Finish(WriteAtFinish { size: content.len() as u64 }));
    sender.send(WriteAtRequest { part }).await.unwrap();
    drop(sender);
    let size = content.len() as u64;
    assert_eq!(writing.await.unwrap().unwrap().into_inner().offset, size);
    assert!(upload.finish(1, size, blake3::hash(&content).as_bytes()).await.is_ok());
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_is_good_for_what_its_grant_was() {
    let home = Home::new();
    let service = home.start().await;
    let grant = home.write_grant(10);
    refused(start(&service, grant.clone(), Some(11)).await, Code::ResourceExhausted, "TOO_LARGE");
    for (size, limit) in [(None, 10), (Some(4), 4)] {
        let handle = start(&service, grant.clone(), size).await.unwrap().handle;
        let upload = Uploading { service: &service, handle };
        let content = noise(1, limit + 1);
        refused(upload.write(1, 0, &content).await, Code::ResourceExhausted, "TOO_LARGE");
        upload.write(1, 0, &content[..limit]).await.unwrap();
        refused(upload.write(1, limit as u64, b"x").await, Code::ResourceExhausted, "TOO_LARGE");
    }
    let handle = start(&service, grant.clone(), None).await.unwrap().handle;
    let opened: UploadHandle = home.keys.open(&handle, NOW).unwrap();
    let stranger = KeyRing::new(&[1; 32]);
    let expired = UploadHandle { expires_at_us: NOW, ..opened.clone() };
    for handle in [
        Bytes::new(),
        Bytes::from_static(b"rubbish"),
        grant.clone(),
        stranger.seal(&opened),
        home.keys.seal(&expired),
    ] {
        let upload = Uploading { service: &service, handle };
        let invalid = (Code::Unauthenticated, "GRANT_INVALID");
        refused(upload.get().await, invalid.0, invalid.1);
        refused(upload.take_over().await, invalid.0, invalid.1);
        refused(upload.write(1, 0, b"x").await, invalid.0, invalid.1);
        refused(upload.finish(1, 0, &[]).await, invalid.0, invalid.1);
        refused(upload.abort().await, invalid.0, invalid.1);
    }
    refused(write(&service, handle.clone(), b"x").await, Code::Unauthenticated, "GRANT_INVALID");
    refused(start(&service, handle, None).await, Code::Unauthenticated, "GRANT_INVALID");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_gone() {
    let home = Home::new();
    let service = home.start().await;
    let upload = Uploading::begin(&service, home.write_grant(u64::MAX)).await;
    upload.write(1, 0, &noise(1, 3 << 20)).await.unwrap();
    let (mut sender, messages) = mpsc::channel(0);
    let mut caller = client(&service);
    let slow = tokio::spawn(async move { caller.write_at(messages).await });
    sender.send(WriteAtRequest { part: Some(upload.at(1, 3 << 20)) }).await.unwrap();
    sender.send(WriteAtRequest { part: data(b"more").next() }).await.unwrap();
    upload.abort().await.unwrap();
    refused(slow.await.unwrap(), Code::NotFound, "NOT_FOUND");
    let check = async |upload: &Uploading<'_>| {
        // Given up once more, it is no less gone.
        upload.abort().await.unwrap();
        refused(upload.get().await, Code::NotFound, "NOT_FOUND");
        refused(upload.take_over().await, Code::NotFound, "NOT_FOUND");
        refused(upload.write(1, 0, b"x").await, Code::NotFound, "NOT_FOUND");
        refused(upload.finish(1, 3 << 20, &[]).await, Code::NotFound, "NOT_FOUND");
    };
    check(&upload).await;
    let handle = upload.handle;
    service.close().await;
    let service = home.start().await;
    check(&Uploading { service: &service, handle: handle.clone() }).await;
    service.close().await;
    std::fs::remove_file(home.dir.path().join("blob/index.db")).unwrap();
    let service = home.start().await;
    check(&Uploading { service: &service, handle }).await;
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_has_only_so_many_unfinished_uploads() {
    let mut home = Home::new();
    home.config.uploads.max_unfinished = 2;
    let service = home.start().await;
    let begin = async || Uploading::begin(&service, home.write_grant(100)).await;
    let (first, second, third) = (begin().await, begin().await, begin().await);
    first.write(1, 0, b"1").await.unwrap();
    second.take_over().await.unwrap();
    let too_many = (Code::ResourceExhausted, "TOO_MANY_UPLOADS");
    refused(third.write(1, 0, b"3").await, too_many.0, too_many.1);
    refused(third.take_over().await, too_many.0, too_many.1);
    first.write(1, 1, b"1").await.unwrap();
    // Another space is not touched by it.
    let grant = WriteGrant { space_id: uuid::Uuid::from_u128(9).to_string(), ..write_grant(100) };
    Uploading::begin(&service, home.keys.seal(&grant)).await.write(1, 0, b"9").await.unwrap();
    first.finish(1, 2, &[]).await.unwrap();
    third.write(1, 0, b"3").await.unwrap();
    let fourth = begin().await;
    refused(fourth.write(1, 0, b"4").await, too_many.0, too_many.1);
    second.abort().await.unwrap();
    fourth.write(1, 0, b"4").await.unwrap();
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_forgotten() {
    let home = Home::new();
    let service = home.start().await;
    let count = async |service: &Service, table: &str| -> i64 {
        let text = format!("SELECT COUNT(*) FROM {table}");
        let database = service.store.reader().index().database();
        holdall_sql::dynamic(text).fetch_one(database).await.unwrap().get(0).unwrap()
    };
    let finished = Uploading::begin(&service, home.write_grant(100)).await;
    finished.write(1, 0, b"finished").await.unwrap();
    let id = receipt(&home, &finished.finish(1, 8, &[]).await.unwrap()).blob_id;
    let unfinished = Uploading::begin(&service, home.write_grant(100)).await;
    unfinished.write(1, 0, b"unfinished").await.unwrap();
    assert_eq!((count(&service, "uploads").await, count(&service, "segments").await), (1, 1));
    let handle = unfinished.handle;
    service.close().await;

    // From the packs both come back.
    std::fs::remove_file(home.dir.path().join("blob/index.db")).unwrap();
    let service = home.start().await;
    let unfinished = Uploading { service: &service, handle };
    assert_eq!(unfinished.get().await.unwrap(), (10, false));
    service.store.forget_uploads(NOW).await.unwrap();
    assert_eq!((count(&service, "uploads").await, count(&service, "segments").await), (1, 1));
    assert_eq!(unfinished.get().await.unwrap(), (10, false));
    service.store.forget_uploads(NOW + HOUR).await.unwrap();
    assert_eq!((count(&service, "uploads").await, count(&service, "segments").await), (0, 0));
    assert_eq!(read(&service, home.read_grant(&id), 0, 0).await.unwrap(), b"finished");
    service.close().await;
}
