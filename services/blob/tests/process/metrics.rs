//! What the process tells about itself, taken from where it goes: over OTLP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use holdall_runtime::testing::eventually;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport};

use crate::calls;
use crate::content::Content;
use crate::home::Home;

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
    let server = home.start_with(&[
        ("HOLDALL_TELEMETRY__OTLP_ENDPOINT", &endpoint),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    ]);
    let mut client = server.client();
    let text = Bytes::from(b"as often as not ".repeat(1000));
    let noise = Content { seed: 1, len: 2 << 20 }.bytes();
    for content in [&text, &text, &noise] {
        let id = calls::write(&home.keys, &mut client, content.clone()).await.unwrap();
        for _ in 0..2 {
            calls::read(&home.keys, &mut client, &id).await.unwrap();
        }
    }
    let value = |name: &str| sink.0.lock().unwrap().get(&format!("holdall.blob.{name}")).copied();
    let all = 2 * 16_000 + (2 << 20);
    let exact = [
        ("blobs", 3),
        ("queue.duration", 3),
        ("received_bytes", all),
        ("chunk_bytes", all),
        ("degraded", 0),
        ("damaged", 0),
        ("keys_missing", 0),
        ("refused", 0),
        ("write_errors", 0),
    ];
    let some = [
        "batch.entries",
        "batch.size",
        "chunk.size",
        "flush.duration",
        "stored_bytes",
        "read_bytes",
        "lookups",
    ];
    eventually(Duration::from_secs(60), async || {
        exact.iter().all(|(name, expected)| value(name) == Some(*expected))
            && some.iter().all(|name| value(name) > Some(0))
    })
    .await;
    assert!(value("stored_bytes") < Some(16_000 + (2 << 20)), "text is compressed, and stored once");
    server.stop().await;
    collector.abort();
}
