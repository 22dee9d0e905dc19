//! The program itself, over TCP: it can be killed at any moment and nothing that it has acknowledged is lost.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use tempfile::TempDir;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport};

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
        Self { dir, keys: KeyRing::new(&key) }
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
        command
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn start(&self) -> Server {
        Server::spawn(&mut self.command())
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
    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("holdall-blob listening on ").expect(&line).to_owned();
        Self { child, url }
    }

    fn client(&self) -> Client {
        let config = UpstreamConfig { url: Some(self.url.clone()), ..UpstreamConfig::default() };
        BlobServiceClient::new(upstream::connect(&config, None).unwrap())
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Lets the process open files up to this number, and none beyond.
    fn limit_files(&self, limit: usize) {
        let process = format!("--pid={}", self.child.id());
        let status = Command::new("prlimit").args([process, format!("--nofile={limit}:")]).status().unwrap();
        assert!(status.success());
    }

    /// The lowest number that no open file has.
    fn next_file(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let files: Vec<usize> =
            files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        (0..).find(|number| !files.contains(number)).unwrap()
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
    const KILLS: u64 = 12;
    const SIZES: [usize; 6] = [4096, 70_000, 700_000, 3 << 20, 100, 0];
    let home = Arc::new(Home::new());
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
fn a_key_is_needed() {
    let home = Home::new();
    let without = home.command().env_remove("HOLDALL_BLOB__GRANTS__KEY_FILES").output().unwrap();
    assert_eq!(without.status.code(), Some(78));
    assert!(String::from_utf8(without.stderr).unwrap().contains("openssl rand -hex 32"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_to_open_nothing_is_lost_and_all_goes_on_later() {
    let home = Home::new();
    let server = home.start();
    let client = server.client();
    let content = noise(1, 100_000);
    let id = home.write(client.clone(), &content).await.unwrap();
    let nobody = "01890000-0000-7000-8000-000000000000";
    assert_eq!(home.read(client.clone(), nobody).await.unwrap_err().code(), Code::NotFound);

    server.limit_files(server.next_file());
    // The pack cannot be opened for reading: that says nothing about what is in it.
    assert_eq!(home.read(client.clone(), &id).await.unwrap_err().code(), Code::Unavailable);
    // Large content needs a pack that was not made yet, and after that failure nobody is let in.
    for len in [1 << 20, 1000] {
        let refused = home.write(client.clone(), &noise(2, len)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
    }

    server.limit_files(1024);
    assert!(home.read(client.clone(), &id).await.unwrap() == content);
    eventually(Duration::from_secs(60), async || {
        home.write(client.clone(), &noise(2, 1 << 20)).await.is_ok()
    })
    .await;
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
}

/// Takes what a process exports over OTLP, and keeps the names and values of its sums, and how much its histograms hold.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<BTreeMap<String, i64>>>);

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut values = self.0.lock().unwrap();
        let resources = request.into_inner().resource_metrics.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let value = match metric.data {
                Some(Data::Sum(sum)) => sum.data_points.iter().map(number).sum(),
                Some(Data::Gauge(gauge)) => gauge.data_points.iter().map(number).sum(),
                Some(Data::Histogram(histogram)) => {
                    histogram.data_points.iter().map(|point| i64::try_from(point.count).unwrap()).sum()
                }
                _ => continue,
            };
            values.insert(metric.name, value);
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn number(point: &NumberDataPoint) -> i64 {
    match point.value {
        Some(Value::AsInt(value)) => value,
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_can_be_measured_from_outside() {
    let sink = Sink::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector = transport::Server::builder()
        .add_service(MetricsServiceServer::new(sink.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let collector = tokio::spawn(collector);
    let home = Home::new();
    let server = Server::spawn(
        home.command()
            .env("HOLDALL_TELEMETRY__OTLP_ENDPOINT", endpoint)
            .env("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    );
    let client = server.client();
    let text = b"as often as not ".repeat(1000);
    for content in [&text, &text, &noise(1, 2 << 20)] {
        let id = home.write(client.clone(), content).await.unwrap();
        for _ in 0..2 {
            home.read(client.clone(), &id).await.unwrap();
        }
    }
    let value = |name: &str| sink.0.lock().unwrap().get(&format!("holdall.blob.{name}")).copied();
    eventually(Duration::from_secs(60), async || {
        value("blobs") == Some(3) && value("queue.duration") == Some(3)
    })
    .await;
    let all = 2 * 16_000 + (2 << 20);
    assert_eq!(value("received_bytes"), Some(all));
    assert_eq!(value("chunk_bytes"), Some(all));
    assert_eq!(value("degraded"), Some(0));
    for name in [
        "batch.entries",
        "batch.size",
        "chunk.size",
        "flush.duration",
        "stored_bytes",
        "read_bytes",
        "lookups",
    ] {
        assert!(value(name) > Some(0), "{name}");
    }
    assert!(value("stored_bytes") < Some(16_000 + (2 << 20)), "text is compressed");
    for name in ["damaged", "keys_missing", "refused", "write_errors"] {
        assert_eq!(value(name), Some(0), "{name}");
    }
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    collector.abort();
}
