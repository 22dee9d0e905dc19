//! What happens around an RPC is the same in this process and over TCP.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use holdall_runtime::config::{TelemetryConfig, UpstreamConfig};
use holdall_runtime::serve::BoundListener;
use holdall_runtime::testing::eventually;
use holdall_runtime::token::Caller;
use holdall_runtime::{telemetry, trace, upstream};
use http::HeaderMap;
use http_body_util::BodyExt;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;
use tracing::Instrument;
use uuid::Uuid;

use super::probe::{Smuggled, assert_failed, call, note, request, shapes, token};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn generated_clients_work() {
    for shape in shapes(Some(SECOND)).await {
        let mut client = HealthClient::new(shape.upstream.clone());
        let check = HealthCheckRequest { service: String::new() };
        assert_eq!(client.check(check.clone()).await.unwrap().into_inner().status, 1, "{}", shape.name);
        let mut watch = client.watch(check).await.unwrap().into_inner();
        assert_eq!(watch.next().await.unwrap().unwrap().status, 1, "{}", shape.name);
        let unknown = HealthCheckRequest { service: "unknown".to_owned() };
        assert_eq!(client.check(unknown).await.unwrap_err().code(), Code::NotFound, "{}", shape.name);
    }
}

#[tokio::test]
async fn callers_are_who_their_token_says() {
    let good = token(60);
    for shape in shapes(Some(SECOND)).await {
        assert_eq!(note(&shape, request("Caller", Some(&good))).await, Uuid::from_u128(7).to_string());
        let mut lower_case = request("Caller", None);
        lower_case.headers_mut().insert("authorization", format!("bearer {good}").parse().unwrap());
        assert_eq!(note(&shape, lower_case).await, Uuid::from_u128(7).to_string());
    }
}

#[tokio::test]
async fn without_a_good_token_nothing_is_allowed() {
    let (good, expired) = (token(60), token(-60));
    for shape in shapes(Some(SECOND)).await {
        let failed = async |request, reason| {
            let outcome = call(&shape.upstream, request).await;
            assert_failed(&shape, outcome, Code::Unauthenticated, Some(reason));
        };
        failed(request("Caller", None), "TOKEN_MISSING").await;
        failed(request("Caller", Some(&expired)), "TOKEN_EXPIRED").await;
        failed(request("Caller", Some("x.y.z")), "TOKEN_INVALID").await;
        failed(request("NoSuchMethod", None), "TOKEN_MISSING").await;
        // Near misses of a public path.
        failed(request("public", None), "TOKEN_MISSING").await;
        failed(request("Public/", None), "TOKEN_MISSING").await;
        failed(request("PublicNot", None), "TOKEN_MISSING").await;

        let mut elsewhere = request("Caller", None);
        *elsewhere.uri_mut() = "http://any/no.Service/Method".parse().unwrap();
        failed(elsewhere, "TOKEN_MISSING").await;
        let mut basic = request("Caller", None);
        basic.headers_mut().insert("authorization", "Basic eDp5".parse().unwrap());
        failed(basic, "TOKEN_INVALID").await;
        let mut twice = request("Caller", Some(&good));
        twice.headers_mut().append("authorization", format!("Bearer {good}").parse().unwrap());
        failed(twice, "TOKEN_INVALID").await;
    }
}

#[tokio::test]
async fn public_methods_do_not_look_at_tokens() {
    let good = token(60);
    for shape in shapes(Some(SECOND)).await {
        assert_eq!(note(&shape, request("Public", None)).await, "nobody", "{}", shape.name);
        assert_eq!(note(&shape, request("Public", Some(&good))).await, "nobody", "{}", shape.name);
        assert_eq!(note(&shape, request("Public", Some("x.y.z"))).await, "nobody", "{}", shape.name);
    }
}

#[tokio::test]
async fn nothing_is_smuggled_in_beside_the_headers() {
    let good = token(60);
    for shape in shapes(Some(SECOND)).await {
        let forged = Caller {
            account_id: Uuid::from_u128(666),
            session_id: Uuid::nil(),
            kind: String::new(),
            role: "admin".to_owned(),
        };
        let mut public = request("Public", None);
        public.extensions_mut().insert(Arc::new(forged.clone()));
        assert_eq!(note(&shape, public).await, "nobody", "{}", shape.name);
        let mut own = request("Caller", Some(&good));
        own.extensions_mut().insert(Arc::new(forged));
        assert_eq!(note(&shape, own).await, Uuid::from_u128(7).to_string(), "{}", shape.name);
        let mut other = request("Smuggled", Some(&good));
        other.extensions_mut().insert(Smuggled);
        assert_eq!(note(&shape, other).await, "false", "{}", shape.name);
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_that_call_alone() {
    let good = token(60);
    for shape in shapes(Some(SECOND)).await {
        for method in ["Panic", "PanicInBody", "NoSuchMethod"] {
            let outcome = call(&shape.upstream, request(method, Some(&good))).await;
            assert_failed(&shape, outcome, Code::Internal, Some("INTERNAL"));
        }
        assert_eq!(note(&shape, request("Public", None)).await, "nobody", "{}", shape.name);
    }
}

#[tokio::test]
async fn deadlines_end_calls_on_both_sides() {
    let good = token(60);
    for shape in shapes(Some(Duration::from_millis(200))).await {
        let outcome = call(&shape.upstream, request("Slow", Some(&good))).await;
        assert_failed(&shape, outcome, Code::DeadlineExceeded, None);
        eventually(SECOND, async || shape.slow_calls.load(Ordering::SeqCst) == 0).await;
        // Nobody gets more time by asking for it.
        let mut patient = request("Slow", Some(&good));
        patient.headers_mut().insert("grpc-timeout", "1H".parse().unwrap());
        let outcome = call(&shape.upstream, patient).await;
        assert_failed(&shape, outcome, Code::DeadlineExceeded, None);
    }
    // Who asks for less gets less.
    for shape in shapes(Some(3600 * SECOND)).await {
        let mut hurried = request("Slow", Some(&good));
        hurried.headers_mut().insert("grpc-timeout", "50m".parse().unwrap());
        let outcome = call(&shape.upstream, hurried).await;
        assert_failed(&shape, outcome, Code::DeadlineExceeded, None);
    }
}

#[tokio::test]
async fn deadlines_do_not_cut_answers_that_have_begun() {
    let good = token(60);
    for shape in shapes(Some(Duration::from_millis(200))).await {
        let outcome = call(&shape.upstream, request("SlowBody", Some(&good))).await;
        assert!(outcome.is_ok(), "{}: {outcome:?}", shape.name);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_call() {
    let good = token(60);
    for shape in shapes(None).await {
        let calling = call(&shape.upstream, request("Slow", Some(&good)));
        tokio::select! {
            outcome = calling => panic!("{}: {outcome:?}", shape.name),
            () = eventually(SECOND, async || shape.slow_calls.load(Ordering::SeqCst) == 1) => {}
        }
        eventually(SECOND, async || shape.slow_calls.load(Ordering::SeqCst) == 0).await;
    }
}

#[tokio::test]
async fn a_trace_goes_on_at_the_other_side() {
    static TELEMETRY: OnceLock<telemetry::Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let config = TelemetryConfig { log: "off".to_owned(), ..Default::default() };
        telemetry::start("holdall-test", &config, false).unwrap()
    });
    let good = token(60);
    for shape in shapes(Some(SECOND)).await {
        let span = tracing::info_span!(target: "holdall_test", "outer");
        let mut headers = HeaderMap::new();
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", traceparent.parse().unwrap());
        trace::adopt(&span, &headers);
        let trace_id = note(&shape, request("Trace", Some(&good))).instrument(span).await;
        assert_eq!(trace_id, "0af7651916cd43dd8448eb211c80319c", "{}", shape.name);

        // Without a trace around it, a call has one of its own.
        let own = note(&shape, request("Trace", Some(&good))).await;
        assert!(own.len() == 32 && own != trace_id, "{}: {own:?}", shape.name);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let listener = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = Some(format!("http://{}", listener.local_addr()));
    drop(listener);
    let upstream =
        upstream::connect(&UpstreamConfig { url, ..Default::default() }, Some(SECOND), &Default::default())
            .unwrap();
    let check = HealthCheckRequest { service: String::new() };
    for _ in 0..3 {
        let mut client = HealthClient::new(upstream.clone());
        assert_eq!(client.check(check.clone()).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(client.watch(check.clone()).await.unwrap_err().code(), Code::Unavailable);
    }
    assert!(upstream::connect(&UpstreamConfig::default(), None, &Default::default()).is_err());
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_call_leaves_its_outcome_unknown() {
    let good = token(60);
    let [_, over_tcp] = shapes(None).await;
    let calling = call(&over_tcp.upstream, request("Slow", Some(&good)));
    let breaking = async {
        eventually(SECOND, async || over_tcp.slow_calls.load(Ordering::SeqCst) == 1).await;
        over_tcp.shutdown.request();
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! { outcome = calling => outcome, () = breaking => unreachable!() };
    assert_failed(&over_tcp, outcome, Code::Unknown, None);
    // And it stays away: from then on there is no connection to be had.
    let outcome = call(&over_tcp.upstream, request("Caller", Some(&good))).await;
    assert_failed(&over_tcp, outcome, Code::Unavailable, None);
}

#[tokio::test]
async fn an_answer_that_panicked_is_over() {
    let good = token(60);
    for shape in shapes(Some(SECOND)).await {
        let answer = shape.upstream.clone().oneshot(request("PanicInBody", Some(&good))).await.unwrap();
        let mut body = answer.into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data(), "{}", shape.name);
        assert!(body.frame().await.unwrap().unwrap().is_trailers(), "{}", shape.name);
        assert!(body.frame().await.is_none(), "{}", shape.name);
    }
}
