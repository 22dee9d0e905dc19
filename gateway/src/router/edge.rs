//! What happens around every request: an id, a span in the caller's trace, checks of what no handler looks at, and an
//! answer even when a handler panics.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdall_runtime::telemetry::DURATIONS;
use http::header::{CONNECTION, EXPECT, HOST, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use super::cors;
use super::shape::Shape;
use super::unread::Unread;
use crate::authority;
use crate::error::{Code, Error, Result};
use crate::rest::problem::Problem;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a client's is replaced.
const MAX_REQUEST_ID: usize = 64;

/// See the module.
#[derive(Debug, Clone)]
pub struct EdgeLayer {
    secure: bool,
    duration: Histogram<f64>,
}

impl EdgeLayer {
    /// For a server reached by `http` or `https`.
    pub fn new(scheme: &str) -> Self {
        let duration = opentelemetry::global::meter("holdall")
            .f64_histogram("http.server.request.duration")
            .with_unit("s")
            .with_boundaries(DURATIONS.to_vec())
            .with_description("Duration of HTTP requests to the head of their answer")
            .build();
        Self { secure: scheme == "https", duration }
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { inner, secure: self.secure, duration: self.duration.clone() }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Edge<S> {
    inner: S,
    secure: bool,
    duration: Histogram<f64>,
}

impl<S> Service<Request> for Edge<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let id = request_id(request.headers());
        let secure = self.secure;
        let method = request.method().clone();
        let span = span(&request, &id);
        let (started, duration) = (Instant::now(), self.duration.clone());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let shape = Shape::of(request.uri().path());
        let preflight = if shape.is_open() { cors::preflight(&request) } else { None };
        let (request, unread) = Unread::watch(request);
        let answering = match (check(&request), preflight) {
            (Err(error), _) => Err(shape.failure(error)),
            (Ok(()), Some(response)) => Err(response),
            (Ok(()), None) => Ok(AssertUnwindSafe(span.in_scope(|| self.inner.call(request))).catch_unwind()),
        };
        async move {
            let response = match answering {
                Ok(answering) => match answering.await {
                    Ok(Ok(response)) => response,
                    Err(panic) => panicked(&*panic, shape),
                },
                Err(answer) => answer,
            };
            let mut response = finish(Problem::complete(response, &method, &id), &id, secure);
            duration.record(
                started.elapsed().as_secs_f64(),
                &[
                    KeyValue::new("http.request.method", known(&method)),
                    KeyValue::new(
                        "http.route",
                        route.map_or_else(|| "unknown".into(), |route| route.as_str().to_owned()),
                    ),
                    KeyValue::new("http.response.status_code", i64::from(response.status().as_u16())),
                ],
            );
            if shape.is_open() {
                cors::open(response.headers_mut());
            }
            if unread.is_left() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
        .instrument(span)
        .boxed()
    }
}

/// The client's own id when it is a sane one, else one that sorts by time.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    });
    given.map_or_else(|| Uuid::now_v7().to_string().into(), Into::into)
}

/// Carries the route, never the path: that holds names of files and slugs.
fn span(request: &Request, id: &str) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        otel.name = field::Empty,
        otel.kind = "server",
        http.request.method = request.method().as_str(),
        http.route = route,
        http.response.status_code = field::Empty,
        request_id = id,
    );
    if !span.is_disabled() {
        span.record("otel.name", field::display(format_args!("{} {route}", request.method())));
        holdall_runtime::trace::adopt(&span, request.headers());
    }
    span
}

/// Words that are no method must not each become a time series.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// What hyper and axum let pass.
fn check(request: &Request) -> Result<()> {
    let headers = request.headers();
    // HTTP/1.0 may do without.
    let needed = request.version() > Version::HTTP_10 || headers.contains_key(HOST);
    if needed && (headers.get_all(HOST).iter().count() > 1 || authority(request.uri(), headers).is_err()) {
        return Err(Code::InvalidHost.into());
    }
    match headers.get(EXPECT) {
        Some(expectation) if !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(Code::ExpectationFailed.into())
        }
        _ => Ok(()),
    }
}

fn panicked(panic: &(dyn Any + Send), shape: Shape) -> Response {
    let message =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message, "a handler panicked");
    shape.failure(Error::new(Code::Internal))
}

fn finish(mut response: Response, id: &str, secure: bool) -> Response {
    let status = response.status();
    Span::current().record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        tracing::warn!(status = status.as_u16(), "request failed");
    } else {
        tracing::debug!(status = status.as_u16(), "request answered");
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    if secure {
        headers.insert(
            STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=63072000; includeSubDomains"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn send(request: http::request::Builder) -> (Response<()>, String) {
        let router = Router::new()
            .route("/api/v1/good", get(|| async { "good" }))
            .route(
                "/api/v1/panic",
                get(|| async {
                    if true {
                        panic!("secret")
                    }
                }),
            )
            .layer(EdgeLayer::new("https"));
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (Response::from_parts(parts, ()), body)
    }

    fn request(path: &str) -> http::request::Builder {
        Request::builder().uri(path).header(HOST, "localhost")
    }

    #[tokio::test]
    async fn every_answer_carries_an_id() {
        let (response, body) = send(request("/api/v1/good")).await;
        assert_eq!(body, "good");
        let id = response.headers()[X_REQUEST_ID].to_str().unwrap().to_owned();
        assert!(Uuid::parse_str(&id).is_ok(), "{id}");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(response.headers().contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[tokio::test]
    async fn an_answer_before_the_end_of_the_body_says_that_the_connection_ends() {
        let router = Router::new()
            .route("/early", axum::routing::put(|| async { "no" }))
            .route("/late", axum::routing::put(|body: bytes::Bytes| async move { body.len().to_string() }))
            .layer(EdgeLayer::new("http"));
        let closes = async |path: &str, version: Version, body: &'static str| {
            let request = request(path).method("PUT").version(version).body(Body::from(body)).unwrap();
            router.clone().oneshot(request).await.unwrap().headers().contains_key(CONNECTION)
        };
        assert!(closes("/early", Version::HTTP_11, "body").await);
        assert!(!closes("/early", Version::HTTP_11, "").await);
        assert!(!closes("/early", Version::HTTP_2, "body").await, "a stream ends by itself");
        assert!(!closes("/late", Version::HTTP_11, "body").await);
    }

    #[tokio::test]
    async fn a_sane_id_is_kept_and_another_is_not() {
        let id_for = async |id: &str| {
            send(request("/api/v1/good").header(X_REQUEST_ID, id)).await.0.headers()[X_REQUEST_ID].clone()
        };
        assert_eq!(id_for("abc-1.2_3").await, "abc-1.2_3");
        for bad in ["", "a b", "a<b>", &"a".repeat(65)] {
            assert_ne!(id_for(bad).await, bad);
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_without_its_reason() {
        let (response, body) = send(request("/api/v1/panic").header(X_REQUEST_ID, "r-7")).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            body.contains("\"internal\"") && body.contains("\"r-7\"") && !body.contains("secret"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn hosts_and_expectations_are_checked() {
        let status = async |request| send(request).await.0.status();
        assert_eq!(status(Request::builder().uri("/api/v1/good")).await, StatusCode::BAD_REQUEST);
        assert_eq!(status(Request::builder().uri("http://localhost/api/v1/good")).await, StatusCode::OK);
        assert_eq!(
            status(Request::builder().uri("/api/v1/good").version(Version::HTTP_10)).await,
            StatusCode::OK
        );
        assert_eq!(status(request("/api/v1/good").header(HOST, "other")).await, StatusCode::BAD_REQUEST);
        assert_eq!(
            status(Request::builder().uri("/api/v1/good").header(HOST, "a b/<c>")).await,
            StatusCode::BAD_REQUEST
        );
        assert_eq!(status(request("/api/v1/good").header(EXPECT, "100-Continue")).await, StatusCode::OK);
        assert_eq!(
            status(request("/api/v1/good").header(EXPECT, "the-unexpected")).await,
            StatusCode::EXPECTATION_FAILED
        );
    }
}
