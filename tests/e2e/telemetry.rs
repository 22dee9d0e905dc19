//! One request is one trace, through all processes; and a collector that is away is no reason to stay away.

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use harness::{
    Options, Server, Shape,
    collector::{Collector, Received},
    eventually, within,
};

/// Spans are sent this often, so that the test need not wait.
fn options(endpoint: &str) -> Options {
    Options::new().env("HOLDALL_TELEMETRY__OTLP_ENDPOINT", endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "100")
}

/// The traces that some span's name contains `what` in.
fn traces(collector: &Collector, what: &str) -> BTreeMap<Vec<u8>, Vec<Received>> {
    let mut traces: BTreeMap<Vec<u8>, Vec<Received>> = BTreeMap::new();
    for received in collector.spans() {
        traces.entry(received.span.trace_id.clone()).or_default().push(received);
    }
    traces.retain(|_, spans| spans.iter().any(|received| received.span.name.contains(what)));
    traces
}

/// Whether a service ran such a statement, whose text is told.
fn statements(spans: &[Received], service: &str, operation: &str) -> bool {
    spans.iter().any(|received| {
        received.service == service
            && received.span.name == operation
            && received.span.attributes.iter().any(|attribute| attribute.key == "db.query.text")
    })
}

fn names(spans: &[Received]) -> Vec<String> {
    spans.iter().map(|received| format!("{}: {}", received.service, received.span.name)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_upload_is_one_trace() {
    const UPLOADS: usize = 12;
    let collector = Collector::start().await;
    let server = Server::start_with(Shape::FourProcesses, options(&collector.endpoint())).await;
    let _log = server.log_on_failure();
    let alice = server.persona("alice").await;
    for n in 0..UPLOADS {
        alice.upload(&format!("secret folder/secret file {n}"), format!("{n}").repeat(100_000)).await;
    }

    let complete = |spans: &Vec<Received>| {
        let has = |service: &str, name: &str| {
            spans.iter().any(|received| received.service == service && received.span.name.contains(name))
        };
        has("holdall-gateway", "PUT")
            && has("holdall-metadata", "BeginUpload")
            && has("holdall-blob", "Write")
            && has("holdall-metadata", "CommitUpload")
            && statements(spans, "holdall-blob", "INSERT")
            && statements(spans, "holdall-metadata", "COMMIT")
    };
    let uploads = eventually("every upload is a trace through all processes", async || {
        let mut found = traces(&collector, "PUT ");
        found.retain(|_, spans| complete(spans));
        (found.len() == UPLOADS).then_some(found)
    })
    .await;
    // Who has just been there is remembered, so not every upload asks auth.
    let asks = |spans: &Vec<Received>| {
        spans.iter().any(|received| {
            received.service == "holdall-auth" && received.span.name.contains("ExchangeSession")
        })
    };
    assert!(uploads.values().any(asks));
    assert!(statements(&collector.spans(), "holdall-auth", "SELECT"));
    for spans in uploads.values() {
        check(spans);
        let text = format!("{spans:?}");
        for private in ["secret", alice.bearer().unwrap(), alice.username.as_str()] {
            assert!(!text.contains(private), "a span shows {private}: {text}");
        }
    }
}

/// One root, at the gateway; everybody else has a parent in the trace, and what services do was asked for by the gateway.
fn check(spans: &[Received]) {
    let by_id: BTreeMap<&[u8], &Received> =
        spans.iter().map(|received| (received.span.span_id.as_slice(), received)).collect();
    let parent = |received: &Received| {
        let id = received.span.parent_span_id.as_slice();
        *by_id
            .get(id)
            .unwrap_or_else(|| panic!("{} has lost its parent: {:?}", received.span.name, names(spans)))
    };
    let (roots, others): (Vec<&Received>, Vec<&Received>) =
        spans.iter().partition(|received| received.span.parent_span_id.is_empty());
    assert_eq!(roots.len(), 1, "{:?}", names(spans));
    assert_eq!(roots[0].service, "holdall-gateway");
    for received in others {
        let mut at = received;
        for _ in 0..32 {
            if at.span.parent_span_id.is_empty() {
                break;
            }
            at = parent(at);
        }
        assert_eq!(at.span.span_id, roots[0].span.span_id, "{}", received.span.name);
        // Metadata may ask auth for its keys; everything else is asked for by the gateway.
        if matches!(received.service.as_str(), "holdall-metadata" | "holdall-blob") {
            let by = &parent(received).service;
            assert!(by == "holdall-gateway" || *by == received.service, "{} by {by}", received.span.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_process_it_is_one_trace_too() {
    let collector = Collector::start().await;
    let server = Server::start_with(Shape::OneProcess, options(&collector.endpoint())).await;
    let alice = server.persona("alice").await;
    alice.upload("file", "x").await;
    eventually("the trace of the upload is there", async || {
        let (_, spans) = traces(&collector, "CommitUpload").pop_first()?;
        let root = spans.iter().any(|received| received.span.parent_span_id.is_empty());
        let all = ["BeginUpload", "Write", "CommitUpload"]
            .iter()
            .all(|method| spans.iter().any(|received| received.span.name.contains(method)));
        (root && all).then_some(())
    })
    .await;
}

async fn a_collector_that_is_away_does_no_harm(shape: Shape) {
    // A port that nobody listens on, held so that it stays so.
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", away.local_addr().unwrap());
    let silent = shape == Shape::OneProcess;
    // In one shape the collector accepts and says nothing, in the other it refuses.
    let held = silent.then_some(away);
    let mut server = Server::start_with(shape, options(&endpoint)).await;
    let alice = server.persona("alice").await;
    for n in 0..20 {
        alice.upload("file", format!("{n}")).await;
        assert_eq!(alice.download("file").await, format!("{n}"));
    }
    within(Duration::from_secs(20), "stopping", server.stop()).await;
    drop(held);
}

#[tokio::test]
async fn a_collector_that_says_nothing_does_no_harm() {
    a_collector_that_is_away_does_no_harm(Shape::OneProcess).await;
}

#[tokio::test]
async fn a_collector_that_refuses_does_no_harm() {
    a_collector_that_is_away_does_no_harm(Shape::FourProcesses).await;
}
