//! The program itself, over TCP: it can be killed at any moment and nothing that it has acknowledged is lost.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod bucket;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bucket::Bucket;
use bytes::Bytes;
use futures::SinkExt;
use holdall_proto::blob::v1::blob_service_client::BlobServiceClient;
use holdall_proto::blob::v1::write_request::Part;
use holdall_proto::blob::v1::{
    ReadGrant, ReadRequest, Receipt, WriteFinish, WriteGrant, WriteHeader, WriteRequest,
};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::config::UpstreamConfig;
use holdall_runtime::testing::eventually;
use holdall_runtime::upstream::{self, Upstream};
use tempfile::TempDir;
use tonic::Status;

const MESSAGE: usize = 256 << 10;

fn now() -> i64 {
    Clock::System.now()
}

/// Bytes that look random and are the same every time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

struct Home {
    dir: TempDir,
    keys: KeyRing,
    bucket: Option<Bucket>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(dir.path().join("key")).unwrap();
        let key: [u8; 32] = noise(1, 32).try_into().unwrap();
        for byte in key {
            write!(file, "{byte:02x}").unwrap();
        }
        Self { dir, keys: KeyRing::new(&key), bucket: None }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdall-blob"));
        let key_files = format!("[{:?}]", self.dir.path().join("key"));
        command
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data())
            .env("HOLDALL_BLOB__GRANTS__KEY_FILES", key_files)
            .env("HOLDALL_BLOB__PACKS__RESERVE", "0")
            .env("HOLDALL_BLOB__PACKS__MAX_SIZE", "16MiB")
            .env("HOLDALL_TELEMETRY__LOG", "off")
            .stdin(Stdio::null());
        if let Some(bucket) = &self.bucket {
            let file = |name: &str, key: &str| {
                let path = self.dir.path().join(name);
                std::fs::write(&path, format!("{key}\n")).unwrap();
                path
            };
            command
                .env("HOLDALL_BLOB__PACKS__STORE", "s3")
                .env("HOLDALL_BLOB__S3__ENDPOINT", &bucket.endpoint)
                .env("HOLDALL_BLOB__S3__ALLOW_HTTP", "true")
                .env("HOLDALL_BLOB__S3__REGION", &bucket.region)
                .env("HOLDALL_BLOB__S3__BUCKET", &bucket.name)
                .env("HOLDALL_BLOB__S3__PREFIX", "holdall/kills")
                .env("HOLDALL_BLOB__S3__ACCESS_KEY_FILE", file("access", &bucket.access_key))
                .env("HOLDALL_BLOB__S3__SECRET_KEY_FILE", file("secret", &bucket.secret_key));
        }
        command
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn start(&self) -> Server {
        let mut child = self.command().stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("holdall-blob listening on ").expect(&line).to_owned();
        Server { child, url }
    }

    fn write_grant(&self) -> Bytes {
        let expires_at_us = now() + 3_600_000_000;
        self.keys.seal(&WriteGrant { max_size: u64::MAX, expires_at_us, ..WriteGrant::default() })
    }

    async fn write(&self, mut client: Client, content: &[u8]) -> Result<String, Status> {
        let header = Part::Header(WriteHeader { grant: self.write_grant(), size: None });
        let data = content.chunks(MESSAGE).map(|data| Part::Data(Bytes::copy_from_slice(data)));
        let finish = Part::Finish(WriteFinish { size: content.len() as u64, digest: Bytes::new() });
        let parts: Vec<_> = [header].into_iter().chain(data).chain([finish]).collect();
        let messages = parts.into_iter().map(|part| WriteRequest { part: Some(part) });
        let response = client.write(futures::stream::iter(messages)).await?.into_inner();
        Ok(self.keys.open::<Receipt>(&response.receipt, now()).unwrap().blob_id)
    }

    async fn read(&self, mut client: Client, blob_id: &str) -> Result<Vec<u8>, Status> {
        let grant = ReadGrant { blob_id: blob_id.to_owned(), expires_at_us: now() + 3_600_000_000 };
        let request = ReadRequest { grant: self.keys.seal(&grant), offset: 0, length: 0 };
        let mut answer = client.read(request).await?.into_inner();
        let mut content = Vec::new();
        while let Some(message) = answer.message().await? {
            content.extend(message.data);
        }
        Ok(content)
    }
}

type Client = BlobServiceClient<Upstream>;

/// A running process; killed when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn client(&self) -> Client {
        let config = UpstreamConfig { url: Some(self.url.clone()), ..UpstreamConfig::default() };
        BlobServiceClient::new(upstream::connect(&config, None).unwrap())
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_that_was_acknowledged() {
    kills(Home::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_in_a_bucket() {
    kills(Home { bucket: Some(Bucket::local()), ..Home::new() }).await;
}

async fn kills(home: Home) {
    const KILLS: u64 = 12;
    const SIZES: [usize; 6] = [4096, 70_000, 700_000, 3 << 20, 100, 0];
    let home = Arc::new(home);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for round in 0..KILLS {
        let server = home.start();
        let writers = (0_u64..).zip(SIZES).map(|(writer, len)| {
            let (home, client, acknowledged) =
                (Arc::clone(&home), server.client(), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                for number in 0_u64.. {
                    // Every fifth is there already.
                    let seed = round * 1_000_000 + writer * 10_000 + number - u64::from(number % 5 == 4);
                    let Ok(id) = home.write(client.clone(), &noise(seed, len)).await else { return };
                    acknowledged.lock().unwrap().push((id, seed, len));
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let [count, millis, ..] = *blake3::hash(&round.to_le_bytes()).as_bytes();
        let enough = acknowledged.lock().unwrap().len() + usize::from(count % 32);
        eventually(Duration::from_secs(60), async || acknowledged.lock().unwrap().len() >= enough).await;
        // Not right behind an answer.
        tokio::time::sleep(Duration::from_millis(u64::from(millis % 16))).await;
        server.signal("-KILL");
        for writer in writers {
            writer.await.unwrap();
        }
        server.wait();
        if round % 4 == 3 {
            std::fs::remove_file(home.data().join("index.db")).unwrap();
            let _ = std::fs::remove_file(home.data().join("index.db-wal"));
        }
    }
    let server = home.start();
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(!acknowledged.is_empty());
    for (id, seed, len) in acknowledged {
        let content = home.read(server.client(), &id).await.unwrap();
        assert!(content == noise(seed, len), "{len} bytes differ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_who_goes_away_has_written_nothing() {
    let home = Home::new();
    let server = home.start();
    for len in [1000, 2 << 20] {
        let (mut sender, messages) = futures::channel::mpsc::channel(1);
        let mut client = server.client();
        let call = tokio::spawn(async move { client.write(messages).await.map(drop) });
        let header = Part::Header(WriteHeader { grant: home.write_grant(), size: None });
        sender.send(WriteRequest { part: Some(header) }).await.unwrap();
        for data in noise(1, len).chunks(MESSAGE) {
            let data = Part::Data(Bytes::copy_from_slice(data));
            sender.send(WriteRequest { part: Some(data) }).await.unwrap();
        }
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    // The same content, sent to its end, is all there is.
    let id = home.write(server.client(), &noise(1, 2 << 20)).await.unwrap();
    assert!(home.read(server.client(), &id).await.unwrap() == noise(1, 2 << 20));
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    assert_eq!(manifests(&home.data().join("packs")), 1);
}

/// Counts records of the kind manifest, by magic, version and kind.
fn manifests(packs: &Path) -> usize {
    let packs = std::fs::read_dir(packs).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    packs.map(|pack| pack.windows(6).filter(|bytes| *bytes == b"\xf5HR\n\x01\x02").count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_one_owner() {
    let home = Home::new();
    let server = home.start();
    let second = home.command().output().unwrap();
    assert_eq!(second.status.code(), Some(78));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains("in use by holdall-blob"), "{text}");
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_bucket_needs_keys_and_a_name() {
    let home = Home { bucket: Some(Bucket::local()), ..Home::new() };
    let cases =
        [("HOLDALL_BLOB__S3__SECRET_KEY_FILE", "secret_key_file"), ("HOLDALL_BLOB__S3__BUCKET", "bucket")];
    for (variable, key) in cases {
        let without =
            home.command().env_remove(variable).env_remove("AWS_SECRET_ACCESS_KEY").output().unwrap();
        let text = String::from_utf8(without.stderr).unwrap();
        assert_eq!(without.status.code(), Some(78), "{text}");
        assert!(text.contains(&format!("blob.s3.{key}")), "{text}");
    }
}

#[test]
fn a_key_is_needed() {
    let home = Home::new();
    let without = home.command().env_remove("HOLDALL_BLOB__GRANTS__KEY_FILES").output().unwrap();
    assert_eq!(without.status.code(), Some(78));
    assert!(String::from_utf8(without.stderr).unwrap().contains("openssl rand -hex 32"));
}

/// Runs a command that needs the directory for itself; returns its exit code and what it says.
fn offline(home: &Home, command: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_holdall-blob"))
        .args([command, "--data-dir"])
        .arg(home.data())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn files(home: &Home) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let folders = [home.data(), home.data().join("packs")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    // The lock names its holder.
    let is_content = |path: &std::path::PathBuf| path.is_file() && !path.ends_with("LOCK");
    let paths = entries.map(|entry| entry.unwrap().path()).filter(is_content);
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_and_the_index_made_again() {
    let home = Home::new();
    let contents = [noise(2, 5_000), noise(3, 3 << 20)];
    let server = home.start();
    let mut ids = Vec::new();
    for content in &contents {
        ids.push(home.write(server.client(), content).await.unwrap());
    }
    let (code, _) = offline(&home, "fsck");
    assert_eq!(code, Some(70), "the directory is in use");
    let (code, _) = offline(&home, "rebuild-index");
    assert_eq!(code, Some(70), "the directory is in use");
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));

    let before = files(&home);
    let (code, said) = offline(&home, "fsck");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with(" 0 problems\n"), "{said}");
    let pack = before.iter().find(|(_, bytes)| bytes.windows(5_000).any(|bytes| bytes == contents[0]));
    let (path, bytes) = pack.unwrap();
    let mut damaged = bytes.clone();
    damaged[1_000] ^= 1;
    std::fs::write(path, &damaged).unwrap();
    let (code, said) = offline(&home, "fsck");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(" is damaged\n") && said.ends_with(" 1 problems\n"), "{said}");
    std::fs::write(path, bytes).unwrap();
    assert!(files(&home) == before, "nothing is changed");

    std::fs::write(home.data().join("index.db"), b"no database at all").unwrap();
    let (code, said) = offline(&home, "rebuild-index");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = offline(&home, "fsck");
    assert_eq!(code, Some(0), "{said}");
    let server = home.start();
    for (id, content) in ids.iter().zip(&contents) {
        assert!(home.read(server.client(), id).await.unwrap() == *content);
    }
}
