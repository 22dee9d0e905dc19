//! The service through its contract, as the gateway calls it.

#![expect(clippy::cast_possible_truncation, reason = "sizes in tests are small")]

mod admin;
mod batch;
mod collection;
mod delta;
mod resume;
mod rotation;

use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use futures::channel::mpsc;
use holdall_proto::blob::v1::blob_service_client::BlobServiceClient;
use holdall_proto::blob::v1::write_request::Part;
use holdall_proto::blob::v1::{
    ReadGrant, ReadRequest, Receipt, WriteFinish, WriteGrant, WriteHeader, WriteRequest, WriteResponse,
};
use holdall_proto::grant::KeyRing;
use holdall_runtime::config::HumanDuration;
use holdall_runtime::status::{field_violations, reason_of};
use holdall_runtime::testing::ManualClock;
use holdall_runtime::upstream::{self, Upstream};
use tempfile::TempDir;
use tonic::{Code, Status};

use super::*;
use crate::domain::cut::tests::noise;

const NOW: i64 = 1_764_000_000_000_000;
const HOUR: i64 = 3_600_000_000;
const KEY: [u8; 32] = *b"any key will do, as long as it i";

struct Home {
    dir: TempDir,
    config: Config,
    clock: ManualClock,
    keys: KeyRing,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key_file = key_file(&dir, "grants.key", &KEY);
        let grants = GrantsConfig { key_files: vec![key_file] };
        let packs = PacksConfig {
            reserve: Some(holdall_runtime::config::ByteSize::new(0)),
            ..PacksConfig::default()
        };
        let config = Config { grants, packs, ..Config::default() };
        Self { dir, config, clock: ManualClock::at(NOW), keys: KeyRing::new(&KEY) }
    }

    async fn start(&self) -> Service {
        build(&self.config, &self.dir.path().join("blob"), self.clock.clock(), &Shutdown::new(Duration::ZERO))
            .await
            .unwrap()
    }

    fn write_grant(&self, max_size: u64) -> Bytes {
        self.keys.seal(&write_grant(max_size))
    }

    fn read_grant(&self, blob_id: &str) -> Bytes {
        self.keys.seal(&ReadGrant { blob_id: blob_id.to_owned(), expires_at_us: NOW + HOUR })
    }

    fn receipt(&self, response: &WriteResponse) -> Receipt {
        self.keys.open(&response.receipt, NOW).unwrap()
    }
}

fn key_file(dir: &TempDir, name: &str, key: &[u8; 32]) -> PathBuf {
    let path = dir.path().join(name);
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, digits.as_bytes()).unwrap();
    path
}

fn write_grant(max_size: u64) -> WriteGrant {
    let id = |number| uuid::Uuid::from_u128(number).to_string();
    WriteGrant { space_id: id(1), max_size, expires_at_us: NOW + HOUR, upload_id: id(2) }
}

fn client(service: &Service) -> BlobServiceClient<Upstream> {
    BlobServiceClient::new(upstream::in_process(service.routes.clone(), None))
}

fn header(grant: Bytes, size: Option<u64>) -> Part {
    Part::Header(WriteHeader { grant, size })
}

fn finish(content: &[u8]) -> Part {
    Part::Finish(WriteFinish { size: content.len() as u64, digest: Bytes::new() })
}

async fn send(service: &Service, parts: Vec<Part>) -> Result<WriteResponse, Status> {
    let messages = parts.into_iter().map(|part| WriteRequest { part: Some(part) });
    client(service).write(futures::stream::iter(messages)).await.map(tonic::Response::into_inner)
}

async fn write(service: &Service, grant: Bytes, content: &[u8]) -> Result<WriteResponse, Status> {
    let mut parts = vec![header(grant, None)];
    parts.extend(content.chunks(256 << 10).map(|data| Part::Data(Bytes::copy_from_slice(data))));
    parts.push(finish(content));
    send(service, parts).await
}

async fn read(service: &Service, grant: Bytes, offset: u64, length: u64) -> Result<Vec<u8>, Status> {
    let mut answer = client(service).read(ReadRequest { grant, offset, length }).await?.into_inner();
    let mut content = Vec::new();
    while let Some(message) = answer.message().await? {
        assert!((1..=256 << 10).contains(&message.data.len()));
        content.extend(message.data);
    }
    Ok(content)
}

#[track_caller]
fn refused<T>(result: Result<T, Status>, code: Code, reason: &str) -> Status {
    let status = result.map(drop).unwrap_err();
    assert_eq!((status.code(), reason_of(&status).as_deref()), (code, Some(reason)), "{status:?}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn content_comes_back_with_a_receipt_and_by_a_grant() {
    let home = Home::new();
    let service = home.start().await;
    for size in [0, 1, 4096, 256 << 10, (256 << 10) + 1, 3 << 20] {
        let content = noise(size as u64, size);
        let response = write(&service, home.write_grant(size as u64), &content).await.unwrap();
        let digest = blake3::hash(&content);
        assert_eq!((response.size, &response.digest[..]), (size as u64, &digest.as_bytes()[..]));
        let receipt = home.receipt(&response);
        let grant = write_grant(0);
        assert_eq!((receipt.size, &receipt.digest[..]), (size as u64, &digest.as_bytes()[..]));
        assert_eq!((receipt.space_id, receipt.upload_id), (grant.space_id, grant.upload_id));
        assert_eq!(receipt.expires_at_us, NOW + HOUR);

        let leave = home.read_grant(&receipt.blob_id);
        let size = size as u64;
        for (offset, length) in [(0, 0), (0, size), (0, size + 9), (size, 0), (size / 2, 0), (size / 3, 5)] {
            let end = if length == 0 { size } else { size.min(offset + length) };
            let expected = &content[offset as usize..end as usize];
            let actual = read(&service, leave.clone(), offset, length).await.unwrap();
            assert!(actual == expected, "{offset}+{length} of {size}");
        }
        let beyond = read(&service, leave, size + 1, 0).await;
        refused(beyond, Code::OutOfRange, "RANGE_NOT_SATISFIABLE");
    }
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_without_a_good_grant() {
    let home = Home::new();
    let service = home.start().await;
    let id = home.receipt(&write(&service, home.write_grant(5), b"12345").await.unwrap()).blob_id;
    let stranger = KeyRing::new(&[1; 32]);
    let expired = |mut grant: WriteGrant| {
        grant.expires_at_us = NOW;
        grant
    };
    let to_read = ReadGrant { blob_id: id.clone(), expires_at_us: NOW + HOUR };
    let late = ReadGrant { expires_at_us: NOW, ..to_read.clone() };
    let no_writing = [
        Bytes::new(),
        Bytes::from_static(b"rubbish"),
        stranger.seal(&write_grant(5)),
        home.keys.seal(&expired(write_grant(5))),
        home.read_grant(&id),
    ];
    for grant in no_writing {
        refused(write(&service, grant, b"12345").await, Code::Unauthenticated, "GRANT_INVALID");
    }
    let no_reading = [
        Bytes::new(),
        Bytes::from_static(b"rubbish"),
        Bytes::from(id.clone()),
        stranger.seal(&to_read),
        home.keys.seal(&late),
        home.write_grant(5),
    ];
    for grant in no_reading {
        refused(read(&service, grant, 0, 0).await, Code::Unauthenticated, "GRANT_INVALID");
    }
    let nobodys = ["0199", "", "00000000-0000-7000-8000-000000000000"];
    for id in nobodys {
        refused(read(&service, home.read_grant(id), 0, 0).await, Code::NotFound, "NOT_FOUND");
    }
    assert_eq!(read(&service, home.read_grant(&id), 0, 0).await.unwrap(), b"12345");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_honoured() {
    let mut home = Home::new();
    let new = key_file(&home.dir, "new.key", b"another key, which is newer than");
    home.config.grants.key_files.insert(0, new);
    let service = home.start().await;
    let response = write(&service, home.write_grant(5), b"12345").await.unwrap();
    assert!(home.keys.open::<Receipt>(&response.receipt, NOW).is_err(), "the first key seals");
    let receipt: Receipt =
        KeyRing::new(b"another key, which is newer than").open(&response.receipt, NOW).unwrap();
    assert_eq!(read(&service, home.read_grant(&receipt.blob_id), 0, 0).await.unwrap(), b"12345");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_outlives_a_grant_that_is_about_to_expire() {
    let home = Home::new();
    let service = home.start().await;
    let grant = WriteGrant { expires_at_us: NOW + 1, ..write_grant(5) };
    let response = write(&service, home.keys.seal(&grant), b"12345").await.unwrap();
    assert_eq!(home.receipt(&response).expires_at_us, NOW + HOUR / 4);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_granted() {
    let home = Home::new();
    let service = home.start().await;
    for limit in [0, 1000, 3 << 20] {
        let content = noise(1, limit + 1);
        let grant = home.write_grant(limit as u64);
        refused(write(&service, grant.clone(), &content).await, Code::ResourceExhausted, "TOO_LARGE");
        assert!(write(&service, grant.clone(), &content[..limit]).await.is_ok());

        // What cannot fit is refused before it comes: this stream has no end.
        let (mut sender, messages) = mpsc::channel(1);
        let part = Some(header(grant, Some(limit as u64 + 1)));
        sender.send(WriteRequest { part }).await.unwrap();
        let result = client(&service).write(messages).await;
        refused(result, Code::ResourceExhausted, "TOO_LARGE");
    }
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_stream_keeps_nothing() {
    let home = Home::new();
    let service = home.start().await;
    for size in [0, 1000, 3 << 20] {
        let content = noise(1, size);
        let grant = || header(home.write_grant(u64::MAX), Some(size as u64));
        let data = || content.chunks(256 << 10).map(|data| Part::Data(Bytes::copy_from_slice(data)));
        let cut = [grant()].into_iter().chain(data()).collect();
        refused(send(&service, cut).await, Code::InvalidArgument, "TRUNCATED");
        let claim = |size, digest: &[u8]| {
            let last = Part::Finish(WriteFinish { size, digest: Bytes::copy_from_slice(digest) });
            [grant()].into_iter().chain(data()).chain([last]).collect::<Vec<_>>()
        };
        let size = size as u64;
        refused(send(&service, claim(size + 1, &[])).await, Code::InvalidArgument, "TRUNCATED");
        refused(send(&service, claim(size, &[7; 32])).await, Code::InvalidArgument, "DIGEST_MISMATCH");
        refused(send(&service, claim(size, &[7; 31])).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    assert_eq!(service.store.counters().blobs.load(std::sync::atomic::Ordering::Relaxed), 0);
    let digest = Bytes::copy_from_slice(blake3::hash(b"123").as_bytes());
    let last = Part::Finish(WriteFinish { size: 3, digest });
    let parts = vec![header(home.write_grant(3), Some(3)), Part::Data(Bytes::from_static(b"123")), last];
    assert!(send(&service, parts).await.is_ok());
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_in_their_order() {
    let home = Home::new();
    let service = home.start().await;
    let header = || header(home.write_grant(9), None);
    let data = || Part::Data(Bytes::from_static(b"1"));
    for parts in
        [vec![], vec![data()], vec![finish(b"")], vec![header(), header()], vec![header(), data(), header()]]
    {
        let status = refused(send(&service, parts).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(field_violations(&status)[0].0, "header");
    }
    // Empty messages are content, too.
    let empty = Part::Data(Bytes::new());
    let parts = vec![header(), empty.clone(), data(), empty, finish(b"1")];
    assert_eq!(send(&service, parts).await.unwrap().size, 1);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_writer_is_cut_off() {
    let mut home = Home::new();
    home.config.uploads.idle_timeout = HumanDuration::from_millis(50);
    let service = home.start().await;
    let (mut sender, messages) = mpsc::channel(1);
    let part = Some(header(home.write_grant(9), None));
    sender.send(WriteRequest { part }).await.unwrap();
    refused(client(&service).write(messages).await, Code::InvalidArgument, "TRUNCATED");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_ends_an_answer_with_data_loss() {
    let home = Home::new();
    let service = home.start().await;
    let content = noise(1, 6 << 20);
    let id = home.receipt(&write(&service, home.write_grant(u64::MAX), &content).await.unwrap()).blob_id;
    for entry in std::fs::read_dir(home.dir.path().join("blob/packs")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() * 3 / 4;
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    }
    let request = ReadRequest { grant: home.read_grant(&id), offset: 0, length: 0 };
    let mut answer = client(&service).read(request).await.unwrap().into_inner();
    let mut received = Vec::new();
    let end = loop {
        match answer.message().await {
            Ok(Some(message)) => received.extend(message.data),
            end => break end,
        }
    };
    refused(end, Code::DataLoss, "CORRUPT");
    assert!(received.len() < content.len() && content.starts_with(&received));
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_outlives_the_service() {
    let home = Home::new();
    let service = home.start().await;
    let id = home.receipt(&write(&service, home.write_grant(5), b"12345").await.unwrap()).blob_id;
    service.close().await;
    let service = home.start().await;
    assert_eq!(read(&service, home.read_grant(&id), 0, 0).await.unwrap(), b"12345");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_one_owner_and_a_key() {
    let mut home = Home::new();
    let service = home.start().await;
    let again = |home: &Home| {
        let (config, path, clock) = (home.config.clone(), home.dir.path().join("blob"), home.clock.clock());
        async move { build(&config, &path, clock, &Shutdown::new(Duration::ZERO)).await.map(drop).unwrap_err() }
    };
    assert!(matches!(again(&home).await, StartError::InUse(_)));
    home.config.grants.key_files.clear();
    assert!(matches!(again(&home).await, StartError::Config(_)));
    home.config.grants.key_files.push(home.dir.path().join("missing.key"));
    assert!(matches!(again(&home).await, StartError::Config(_)));
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_are_refused() {
    let home = Home::new();
    let service = home.start().await;
    let call = |path: &'static str| {
        let mut client = tonic::client::Grpc::new(upstream::in_process(service.routes.clone(), None));
        async move {
            client.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<ReadRequest, WriteResponse>::default();
            let request = tonic::Request::new(ReadRequest::default());
            client.unary(request, path.parse().unwrap(), codec).await
        }
    };
    refused(call("/holdall.blob.v1.Secret/Read").await, Code::Unauthenticated, "TOKEN_MISSING");
    let status = call("/holdall.blob.v1.BlobService/Nothing").await.map(drop).unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_for_encryption_come_from_files() {
    let mut home = Home::new();
    let file = |name, byte| key_file(&home.dir, name, &std::array::from_fn(|at| byte + at as u8));
    let (old, new) = (file("old.key", 1), file("new.key", 2));
    home.config.encryption.key_files = vec![old.clone()];
    let service = home.start().await;
    let content = b"between us ".repeat(100);
    let id = home.receipt(&write(&service, home.write_grant(u64::MAX), &content).await.unwrap()).blob_id;
    service.close().await;
    for pack in std::fs::read_dir(home.dir.path().join("blob/packs")).unwrap() {
        let bytes = std::fs::read(pack.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"between us "));
    }

    home.config.encryption.key_files = vec![new.clone()];
    let service = home.start().await;
    refused(read(&service, home.read_grant(&id), 0, 0).await, Code::Unavailable, "UNAVAILABLE");
    service.close().await;
    std::fs::remove_file(home.dir.path().join("blob/index.db")).unwrap();
    let start = |home: &Home| {
        let (config, path, clock) = (home.config.clone(), home.dir.path().join("blob"), home.clock.clock());
        async move { build(&config, &path, clock, &Shutdown::new(Duration::ZERO)).await.map(drop) }
    };
    assert!(matches!(start(&home).await, Err(StartError::Config(_))));
    home.config.encryption.key_files = vec![new, home.dir.path().join("missing.key")];
    assert!(matches!(start(&home).await, Err(StartError::Config(_))));

    home.config.encryption.key_files[1] = old;
    let service = home.start().await;
    assert_eq!(read(&service, home.read_grant(&id), 0, 0).await.unwrap(), content);
    service.close().await;
}
