//! The life of a process, seen from outside: `examples/server.rs` is run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdall_runtime::config::{ServerConfig, UpstreamConfig};
use holdall_runtime::serve::{BoundListener, Profile, Server};
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::upstream;
use http_body::Frame;
use http_body_util::StreamBody;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;

use super::probe;

const AMPLE: Duration = Duration::from_secs(20);

fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/server")
}

fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs to the end: exit code, standard output, standard error.
async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(AMPLE, command.output()).await.expect("still running").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A process that is up.
struct Up {
    child: Child,
    url: String,
    // Kept open, as it is by whoever reads the line.
    _stdout: BufReader<ChildStdout>,
}

async fn start(command: &mut Command) -> Up {
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::time::timeout(AMPLE, stdout.read_line(&mut line)).await.expect("not up").unwrap();
    let url = line.strip_prefix("holdall-example listening on ").unwrap_or_else(|| panic!("{line:?}"));
    Up { url: url.trim_end().to_owned(), child, _stdout: stdout }
}

impl Up {
    fn client(&self) -> HealthClient<upstream::Upstream> {
        let config = UpstreamConfig { url: Some(self.url.clone()), ..Default::default() };
        HealthClient::new(upstream::connect(&config, Some(AMPLE), &Default::default()).unwrap())
    }

    /// A call under way that never ends.
    async fn hanging_call(&self) -> JoinHandle<()> {
        let config = UpstreamConfig { url: Some(self.url.clone()), ..Default::default() };
        let upstream = upstream::connect(&config, None, &Default::default()).unwrap();
        let mut request = probe::request("", None);
        *request.uri_mut() = "http://any/grpc.health.v1.Health/Check".parse().unwrap();
        // Its message does not come.
        *request.body_mut() =
            Body::new(StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Status>>()));
        let mut client = HealthClient::new(upstream.clone());
        client.check(check()).await.unwrap();
        let hanging = tokio::spawn(async move { drop(upstream.oneshot(request).await) });
        // What comes after it on the same connection is answered: it has arrived.
        tokio::task::yield_now().await;
        client.check(check()).await.unwrap();
        hanging
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn end(mut self) -> (ExitStatus, String) {
        let mut stderr = String::new();
        let reading = self.child.stderr.as_mut().unwrap().read_to_string(&mut stderr);
        tokio::time::timeout(AMPLE, reading).await.expect("still running").unwrap();
        (self.child.wait().await.unwrap(), stderr)
    }
}

fn check() -> HealthCheckRequest {
    HealthCheckRequest { service: String::new() }
}

#[tokio::test]
async fn a_server_comes_up_serves_and_stops_when_asked() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = TempDir::new().unwrap();
        let up = start(&mut command(&dir.path().join("data"))).await;
        assert_eq!(up.client().check(check()).await.unwrap().into_inner().status, 1);
        up.signal(signal);
        let (status, stderr) = up.end().await;
        assert_eq!(status.code(), Some(0), "{stderr}");
        let lines: Vec<serde_json::Value> =
            stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.last().unwrap()["message"], "stopped", "{stderr}");
    }
}

/// Status and body of a GET.
async fn get(url: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(AMPLE, stream.read_to_string(&mut answer)).await.expect("no answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn operators_have_a_listener_of_their_own() {
    let dir = TempDir::new().unwrap();
    let mut child =
        command(&dir.path().join("data")).env("HOLDALL_ADMIN__LISTEN", "127.0.0.1:0").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut url = async |name: &str| {
        let line = tokio::time::timeout(AMPLE, lines.next_line()).await.expect("not up").unwrap().unwrap();
        line.strip_prefix(&format!("{name} listening on ")).unwrap_or_else(|| panic!("{line:?}")).to_owned()
    };
    let admin = url("holdall-example admin").await;
    assert_eq!(get(&admin, "/livez").await, (200, "ok\n".to_owned()));
    let up = Up {
        url: url("holdall-example").await,
        child,
        _stdout: BufReader::new(lines.into_inner().into_inner()),
    };
    assert_eq!(get(&admin, "/readyz").await, (200, "ok\n".to_owned()));
    up.client().check(check()).await.unwrap();
    let (status, metrics) = get(&admin, "/metrics").await;
    assert_eq!(status, 200);
    let line = |name: &str| {
        metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{metrics}"))
    };
    let counted = line("rpc_server_call_duration_seconds_count{");
    assert!(counted.contains("rpc_method=\"Check\"") && counted.ends_with(" 1"), "{counted}");
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        let value: f64 = line(name).rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value > 0.0, "{name}");
    }
    // It may have needed less than the clock can tell.
    line("process_cpu_seconds_total");
    let (status, build) = get(&admin, "/build").await;
    assert_eq!((status, build.contains(env!("CARGO_PKG_VERSION"))), (200, true), "{build}");
    assert_eq!(get(&admin, "/").await.0, 404);
    up.signal(Signal::TERM);
    let (status, stderr) = up.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// A call that hangs keeps the process from ending, which operators see.
#[tokio::test]
async fn a_process_that_stops_lives_and_is_not_ready() {
    let dir = TempDir::new().unwrap();
    let mut child =
        command(&dir.path().join("data")).env("HOLDALL_ADMIN__LISTEN", "127.0.0.1:0").spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = [String::new(), String::new()];
    for line in &mut lines {
        tokio::time::timeout(AMPLE, stdout.read_line(line)).await.expect("not up").unwrap();
    }
    let [admin, url] = lines.map(|line| line.trim_end().rsplit(' ').next().unwrap().to_owned());
    let up = Up { url, child, _stdout: stdout };
    let hanging = up.hanging_call().await;
    up.signal(Signal::TERM);
    let asked = Instant::now();
    while get(&admin, "/readyz").await != (503, "stopping\n".to_owned()) {
        assert!(asked.elapsed() < AMPLE, "it is ready");
    }
    assert_eq!(get(&admin, "/livez").await.0, 200);
    hanging.abort();
    up.end().await;
}

/// Whoever balances learns that a process ends before it does.
#[tokio::test]
async fn a_process_that_is_to_stop_says_so_first() {
    let dir = TempDir::new().unwrap();
    let mut child = command(&dir.path().join("data"))
        .env("HOLDALL_ADMIN__LISTEN", "127.0.0.1:0")
        .env("HOLDALL_SHUTDOWN__DRAIN", "2s")
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = [String::new(), String::new()];
    for line in &mut lines {
        tokio::time::timeout(AMPLE, stdout.read_line(line)).await.expect("not up").unwrap();
    }
    let [admin, url] = lines.map(|line| line.trim_end().rsplit(' ').next().unwrap().to_owned());
    let up = Up { url, child, _stdout: stdout };
    let mut watch = up.client().watch(check()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    up.signal(Signal::TERM);
    let told = tokio::time::timeout(AMPLE, watch.message()).await.expect("not told").unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    // New connections are still taken, and told.
    let answer = up.client().check(check()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
    let mut late = up.client().watch(check()).await.unwrap().into_inner();
    assert_eq!(late.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(get(&admin, "/readyz").await, (503, "stopping\n".to_owned()));
    assert_eq!(get(&admin, "/livez").await.0, 200);

    // Watching does not keep it.
    let (status, stderr) = up.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(watch.message().await.unwrap().is_none() && late.message().await.unwrap().is_none());
}

#[tokio::test]
async fn log_lines_tell_the_trace_and_look_as_wished() {
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    for (format, expected) in [
        ("json", "\"code\":\"Ok\",\"seconds\":".to_owned()),
        ("pretty", "DEBUG holdall_runtime::layers::answer: call ended service=".to_owned()),
    ] {
        let dir = TempDir::new().unwrap();
        let up = start(
            command(dir.path())
                .env("HOLDALL_TELEMETRY__FORMAT", format)
                .env("HOLDALL_TELEMETRY__LOG", "off,holdall_runtime::layers=debug"),
        )
        .await;
        let mut request = Request::new(check());
        let traceparent = format!("00-{trace_id}-b7ad6b7169203331-01");
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
        up.client().check(request).await.unwrap();
        up.signal(Signal::TERM);
        let (_, stderr) = up.end().await;
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(&expected) && stderr.contains(trace_id), "{stderr}");
    }
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off_and_told_by_the_exit_code() {
    let dir = TempDir::new().unwrap();
    let up = start(command(dir.path()).env("HOLDALL_SHUTDOWN__TIMEOUT", "100ms")).await;
    let _hanging = up.hanging_call().await;
    up.signal(Signal::TERM);
    assert_eq!(up.end().await.0.code(), Some(1));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let dir = TempDir::new().unwrap();
    let up = start(command(dir.path()).env("HOLDALL_SHUTDOWN__TIMEOUT", "1h")).await;
    let _hanging = up.hanging_call().await;
    up.signal(Signal::TERM);
    // The first has arrived once the port is closed.
    let addr: SocketAddr = up.url.trim_start_matches("http://").parse().unwrap();
    let closed = async || TcpStream::connect(addr).await.is_err();
    holdall_runtime::testing::eventually(AMPLE, closed).await;
    up.signal(Signal::TERM);
    assert_eq!(up.end().await.0.code(), Some(128 + 15));
}

#[tokio::test]
async fn a_data_directory_has_one_owner() {
    let dir = TempDir::new().unwrap();
    let up = start(&mut command(dir.path())).await;
    let (code, stdout, stderr) = run(&mut command(dir.path())).await;
    assert_eq!((code, &*stdout), (Some(78), ""));
    let owner = format!("in use by holdall-example (process {})", up.child.id().unwrap());
    assert!(stderr.contains(&owner), "{stderr}");

    // Killed outright, it leaves nothing that stops the next.
    up.signal(Signal::KILL);
    up.end().await;
    let up = start(&mut command(dir.path())).await;
    up.signal(Signal::TERM);
    assert_eq!(up.end().await.0.code(), Some(0));
}

#[tokio::test]
async fn a_bad_configuration_is_refused_before_anything_is_touched() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("holdall.toml");
    std::fs::write(&file, "[server]\nlisten = '127.0.0.1:0'\n").unwrap();

    let (code, stdout, stderr) = run(command(&data).arg("--check-config").arg("--config").arg(&file)).await;
    assert_eq!((code, &*stdout), (Some(0), "configuration is valid\n"), "{stderr}");
    let (code, _, stderr) = run(command(&data).env("HOLDALL_SERVER__LISTN", "127.0.0.1:0")).await;
    assert_eq!(code, Some(78));
    assert!(stderr.contains("HOLDALL_SERVER__LISTN") && stderr.lines().count() == 1, "{stderr}");
    std::fs::write(&file, "[server]\nlistn = '127.0.0.1:0'\n").unwrap();
    let (code, _, stderr) = run(command(&data).arg("--check-config").arg("--config").arg(&file)).await;
    assert_eq!(code, Some(78));
    assert!(stderr.contains("holdall.toml") && stderr.contains("listn"), "{stderr}");
    assert!(!data.exists());
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_failed_start() {
    let taken = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(program());
    command.arg("--data-dir").arg(dir.path()).env("HOLDALL_SERVER__LISTEN", taken.local_addr().to_string());
    let (code, _, stderr) = run(&mut command).await;
    assert_eq!(code, Some(70));
    assert!(stderr.contains(&taken.local_addr().to_string()), "{stderr}");
}

#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let spans =
            resources.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.spans.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics;
        let metrics = resources.into_iter().flat_map(|resource| resource.scope_metrics);
        let names = metrics.flat_map(|scope| scope.metrics).map(|metric| metric.name);
        self.metrics.lock().unwrap().extend(names);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tokio::test]
async fn traces_and_metrics_reach_a_collector() {
    let collector = Collector::default();
    let routes = Routes::new(TraceServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector.clone()));
    let listener = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr());
    let server = Server::new(Profile::Grpc, &ServerConfig::default()).unwrap();
    tokio::spawn(async move { server.serve(listener, routes, &Shutdown::new(AMPLE)).await });

    let dir = TempDir::new().unwrap();
    // Traces do not depend on what is logged.
    let up = start(
        command(dir.path())
            .env("HOLDALL_TELEMETRY__OTLP_ENDPOINT", endpoint)
            .env("HOLDALL_TELEMETRY__LOG", "error"),
    )
    .await;
    let mut request = Request::new(check());
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    up.client().check(request).await.unwrap();
    up.signal(Signal::TERM);
    let (status, stderr) = up.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");

    let spans = collector.spans.lock().unwrap();
    assert_eq!(spans.len(), 1, "{spans:?}");
    let span = &spans[0];
    assert_eq!(span.name, "grpc.health.v1.Health/Check");
    assert_eq!(span.trace_id, 0x0af7651916cd43dd8448eb211c80319c_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xb7ad6b7169203331_u64.to_be_bytes());
    let metrics = collector.metrics.lock().unwrap();
    assert!(metrics.iter().any(|name| name == "rpc.server.call.duration"), "{metrics:?}");
}

#[tokio::test]
async fn a_collector_that_is_away_is_not_noticed() {
    let closed = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let endpoint = format!("http://{}", closed.local_addr());
    drop(closed);
    let dir = TempDir::new().unwrap();
    let up = start(command(dir.path()).env("HOLDALL_TELEMETRY__OTLP_ENDPOINT", endpoint)).await;
    up.client().check(check()).await.unwrap();
    let since = Instant::now();
    up.signal(Signal::TERM);
    let (status, stderr) = up.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    assert!(!stderr.contains("ERROR") && !stderr.contains("WARN"), "{stderr}");
}
