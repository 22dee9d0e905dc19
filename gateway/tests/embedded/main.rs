//! The gateway with all services inside, called without a socket.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod backup;
mod collection;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use holdall_gateway::config::Config;
use holdall_gateway::upstreams::Upstreams;
use holdall_gateway::{Gateway, embedded, router};
use holdall_runtime::clock::{Clock, ManualClock};
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::testing::eventually;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A gateway of its own, and somebody who is signed in.
struct Bench {
    router: Router,
    token: String,
    services: embedded::Services,
    dir: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    fn code(&self) -> String {
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        self.json()["code"].as_str().unwrap().to_owned()
    }

    fn header(&self, name: HeaderName) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::at(Clock::System, change).await
    }

    async fn at(clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = dir.path().join("data");
        config.auth.embedded.password.memory_kib = 8;
        config.auth.embedded.password.iterations = 1;
        change(&mut config);
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let lock = embedded::data_dir(&config, "test").unwrap();
        let services = embedded::start(&config, lock, &clock, &shutdown).await.unwrap();
        let upstreams = Upstreams::new(services.connections.clone(), services.remembered.clone());
        let gateway =
            Gateway::new(&config, upstreams, &services.delegation, clock, "http", &shutdown).unwrap();
        let router = router::router(Arc::new(gateway));
        let mut bench = Self { router, token: String::new(), services, dir };
        let account = json!({"username": "alice", "password": "correct horse battery"});
        assert_eq!(bench.post("/accounts", &account).await.status, StatusCode::CREATED);
        let session = bench.post("/sessions", &account).await.json();
        bench.token = session["token"].as_str().unwrap().to_owned();
        bench
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let path = if path.starts_with("/s/") { path.to_owned() } else { format!("/api/v1{path}") };
        let mut request = Request::builder().method(method).uri(path).header(HOST, "files.example.org");
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Body::empty()).await
    }

    async fn put(&self, path: &str, headers: &[(HeaderName, &str)], body: impl Into<Body>) -> Answer {
        self.send(Method::PUT, path, headers, body).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[(CONTENT_TYPE, "application/json")], body.to_string()).await
    }

    async fn reserved(&self) -> u64 {
        self.get("/space", &[]).await.json()["reserved_bytes"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn every_documented_operation_is_there_and_needs_a_session() {
    let mut bench = Bench::new().await;
    let document = bench.get("/openapi.json", &[]).await.json();
    bench.token.clear();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap().replace(['{', '}'], "");
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = bench.send(method.clone(), &path, &[], Body::empty()).await;
            let public = operation.get("security").is_some_and(|security| security == &json!([{}]));
            let expected = if public { StatusCode::UNSUPPORTED_MEDIA_TYPE } else { StatusCode::UNAUTHORIZED };
            assert_eq!(answer.status, expected, "{method} {path}");
            operations += 1;
        }
    }
    assert!(operations > 30);
}

#[tokio::test]
async fn content_comes_back_whole_in_parts_and_not_at_all() {
    let bench = Bench::new().await;
    let content: Vec<u8> = (0..700_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let put = bench.put("/fs/a/b/pic.png", &[], content.clone()).await;
    assert_eq!(put.status, StatusCode::CREATED);
    assert_eq!(put.json()["version"]["media_type"], "image/png");

    let whole = bench.get("/fs/a/b/pic.png", &[]).await;
    assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, &content[..]));
    assert_eq!(whole.header(CONTENT_TYPE), "image/png");
    let etag = whole.header(ETAG);
    assert_eq!(put.header(ETAG), etag, "PUT and GET on one URL speak of one thing");

    let part = bench.get("/fs/a/b/pic.png", &[(RANGE, "bytes=300000-500000"), (IF_RANGE, etag)]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &content[300_000..=500_000]));
    assert_eq!(part.header(CONTENT_RANGE), "bytes 300000-500000/700000");
    let stale = bench.get("/fs/a/b/pic.png", &[(RANGE, "bytes=0-1"), (IF_RANGE, "\"other\"")]).await;
    assert_eq!((stale.status, stale.body.len()), (StatusCode::OK, 700_000));
    let beyond = bench.get("/fs/a/b/pic.png", &[(RANGE, "bytes=700000-")]).await;
    assert_eq!(
        (beyond.status, beyond.header(CONTENT_RANGE)),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */700000")
    );

    let head = bench.send(Method::HEAD, "/fs/a/b/pic.png", &[], Body::empty()).await;
    assert_eq!((head.status, head.body.len(), head.header(CONTENT_LENGTH)), (StatusCode::OK, 0, "700000"));
    let head = bench.send(Method::HEAD, "/fs/none", &[], Body::empty()).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::NOT_FOUND, 0));
    let same = bench.get("/fs/a/b/pic.png", &[(IF_NONE_MATCH, etag)]).await;
    assert_eq!((same.status, same.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert!(same.headers.contains_key(LAST_MODIFIED) && same.header(ETAG) == etag);

    let changed = bench.put("/fs/a/b/pic.png", &[(IF_MATCH, "\"other\"")], "x").await;
    assert_eq!(changed.code(), "precondition_failed");
    let again = bench.put("/fs/a/b/pic.png", &[(IF_NONE_MATCH, "*")], "x").await;
    assert_eq!(again.code(), "precondition_failed");
    let changed = bench.put("/fs/a/b/pic.png", &[(IF_MATCH, etag)], "x").await;
    assert_eq!(changed.status, StatusCode::OK);
}

#[tokio::test]
async fn a_retry_of_a_conditional_upload_succeeds_again() {
    let bench = Bench::new().await;
    let headers = [(IF_NONE_MATCH, "*"), (HeaderName::from_static("idempotency-key"), "k-1")];
    let first = bench.put("/fs/new.txt", &headers, "content").await;
    let second = bench.put("/fs/new.txt", &headers, "content").await;
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.body, second.body);
    assert_eq!(bench.put("/fs/new.txt", &headers, "other").await.code(), "idempotency_mismatch");
    assert_eq!(bench.put("/fs/new.txt", &headers[..1], "content").await.code(), "precondition_failed");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let bench = Bench::new().await;
    let size = (16 << 20).to_string();
    let frames = stream::iter((0..4).map(|_| Ok(Bytes::from(vec![7; 1 << 20]))));
    let broken = frames.chain(stream::once(async { Err(std::io::Error::other("connection reset")) }));
    let answer = bench.put("/fs/big", &[(CONTENT_LENGTH, &size)], Body::from_stream(broken)).await;
    assert_eq!(answer.code(), "truncated_body");
    assert_eq!(bench.get("/fs/big", &[]).await.status, StatusCode::NOT_FOUND);
    // Given back by a call of its own.
    eventually(Duration::from_secs(10), async || bench.reserved().await == 0).await;
}

#[tokio::test]
async fn an_upload_whose_client_is_gone_leaves_nothing() {
    let bench = Bench::new().await;
    let size = (16 << 20).to_string();
    let endless =
        stream::once(async { Ok::<_, Infallible>(Bytes::from(vec![7; 1 << 20])) }).chain(stream::pending());
    let headers = [(CONTENT_LENGTH, size.as_str())];
    tokio::select! {
        answer = bench.put("/fs/big", &headers, Body::from_stream(endless)) => {
            panic!("answered {}", answer.status)
        }
        () = eventually(Duration::from_secs(10), async || bench.reserved().await > 0) => {}
    }
    eventually(Duration::from_secs(10), async || bench.reserved().await == 0).await;
    assert_eq!(bench.get("/fs/big", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upload_may_outlive_an_access_token_but_not_its_permission() {
    let clock = ManualClock::at(1_795_000_000_000_000);
    let bench = Bench::at(clock.clock(), |_| {}).await;
    let slow = |until: Duration| {
        let clock = clock.clone();
        stream::iter(["slow ", "content"]).map(move |part| {
            clock.advance(until / 2);
            Ok::<_, Infallible>(Bytes::from(part))
        })
    };
    let hours = bench.put("/fs/slow", &[], Body::from_stream(slow(Duration::from_secs(3 * 3_600)))).await;
    assert_eq!(hours.status, StatusCode::CREATED);
    assert_eq!(bench.get("/fs/slow", &[]).await.body, "slow content");

    let days = bench.put("/fs/never", &[], Body::from_stream(slow(Duration::from_secs(2 * 86_400)))).await;
    assert_eq!(days.code(), "upload_expired");
    assert_eq!(bench.get("/fs/never", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upload_that_cannot_fit_is_refused_unread() {
    let bench = Bench::with(|config| {
        config.metadata.embedded.spaces.default_quota = "1MiB".parse().unwrap();
    })
    .await;
    let unread =
        stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, Infallible>>> { panic!("read") });
    let answer = bench.put("/fs/big", &[(CONTENT_LENGTH, "1048577")], Body::from_stream(unread)).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::INSUFFICIENT_STORAGE, "quota_exceeded"));
    // Without a size it is cut off.
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![7; 65_536])));
    let answer = bench.put("/fs/big", &[], Body::from_stream(endless)).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    assert_eq!(bench.get("/fs", &[]).await.json()["items"], json!([]));
}

#[tokio::test]
async fn the_root_goes_by_its_name_everywhere() {
    let bench = Bench::new().await;
    let root = bench.get("/nodes/root", &[]).await.json();
    assert_eq!(
        (&root["parent_id"], &root["name"], &root["kind"]),
        (&Value::Null, &json!(""), &json!("folder"))
    );
    assert_eq!(bench.send(Method::DELETE, "/nodes/root", &[], Body::empty()).await.code(), "root_immutable");
    let rename =
        bench.send(Method::PATCH, "/nodes/root", &[(CONTENT_TYPE, "application/json")], "{\"name\":\"x\"}");
    assert_eq!(rename.await.code(), "root_immutable");
    assert_eq!(bench.get("/nodes/root/content", &[]).await.code(), "not_a_file");
    assert_eq!(bench.get("/nodes/root/versions", &[]).await.code(), "not_a_file");
    assert_eq!(bench.get("/nodes/root/ancestors", &[]).await.json()["items"], json!([]));
    assert_eq!(bench.put("/folders/root/files/f", &[], "x").await.status, StatusCode::CREATED);
    assert_eq!(bench.put("/folders/root/files/a%2fb", &[], "x").await.code(), "invalid_name");
    for path in ["/fs", "/fs/", "/nodes/root/children"] {
        assert_eq!(bench.get(path, &[]).await.json()["items"][0]["name"], "f", "{path}");
    }
}

#[tokio::test]
async fn deleting_by_path_heeds_the_tag_of_the_content() {
    let bench = Bench::new().await;
    let put = bench.put("/fs/f", &[], "one").await;
    let delete =
        async |tag: &str| bench.send(Method::DELETE, "/fs/f", &[(IF_MATCH, tag)], Body::empty()).await;
    assert_eq!(delete("\"other\"").await.code(), "precondition_failed");
    assert_eq!(delete("f").await.code(), "invalid_header");
    assert_eq!(delete(put.header(ETAG)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete(put.header(ETAG)).await.code(), "not_found");
}

#[tokio::test]
async fn a_link_is_a_page_a_file_and_a_code() {
    let mut bench = Bench::new().await;
    let name = "a%22b%3Cimg%3E.html";
    let node =
        bench.put(&format!("/fs/{name}"), &[(CONTENT_TYPE, "text/html")], "<script>1</script>").await.json();
    let link = bench.post("/links", &json!({"node_id": node["node_id"], "expires_in": 3600})).await.json();
    let slug = link["slug"].as_str().unwrap().to_owned();
    assert_eq!(link["url"], format!("http://files.example.org/s/{slug}"));
    let token = std::mem::take(&mut bench.token);

    let page = bench.get(&format!("/s/{slug}"), &[]).await;
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        html.contains("&#60;img&#62;.html") && html.contains("18 bytes") && html.contains("<svg"),
        "{html}"
    );
    assert_eq!(page.headers["x-robots-tag"], "noindex, nofollow");
    let file = bench.get(&format!("/s/{slug}/download?inline=1"), &[]).await;
    assert_eq!(file.body, "<script>1</script>");
    assert_eq!(file.header(CONTENT_TYPE), "application/octet-stream");
    assert!(file.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert!(file.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    let code = bench.get(&format!("/s/{slug}/qr.svg"), &[]).await;
    assert_eq!(code.header(CONTENT_TYPE), "image/svg+xml");
    let unknown = bench.get("/s/AAAAAAAAAAAA", &[]).await;

    bench.token = token;
    let trashed = bench.send(Method::DELETE, &format!("/fs/{name}"), &[], Body::empty()).await;
    assert_eq!(trashed.status, StatusCode::NO_CONTENT);
    bench.token.clear();
    for path in ["", "/download", "/qr.svg"] {
        let gone = bench.get(&format!("/s/{slug}{path}"), &[]).await;
        assert_eq!((gone.status, &gone.body), (StatusCode::NOT_FOUND, &unknown.body));
    }
}

#[tokio::test]
async fn a_link_changes_its_expiry_only_as_told() {
    let bench = Bench::new().await;
    let node = bench.put("/fs/f", &[], "x").await.json();
    let link = bench.post("/links", &json!({"node_id": node["node_id"], "expires_in": 3600})).await.json();
    let path = format!("/links/{}", link["link_id"].as_str().unwrap());
    let patch = async |body: Value| {
        bench.send(Method::PATCH, &path, &[(CONTENT_TYPE, "application/json")], body.to_string()).await
    };
    assert_eq!(patch(json!({})).await.code(), "invalid_field");
    assert_eq!(patch(json!({"expires_at": null, "expires_in": 5})).await.code(), "invalid_field");
    let until = patch(json!({"expires_at": "2999-01-01T01:00:00+01:00"})).await;
    assert_eq!(until.json()["expires_at"], "2999-01-01T00:00:00.000000Z");
    assert_eq!(patch(json!({"expires_at": null})).await.json()["expires_at"], Value::Null);
}

#[tokio::test]
async fn what_is_not_ours_to_take_is_refused() {
    let bench = Bench::new().await;
    let range = (HeaderName::from_static("content-range"), "bytes 0-1/3");
    assert_eq!(bench.put("/fs/f", &[range], "x").await.code(), "invalid_header");
    let encoding = (HeaderName::from_static("content-encoding"), "gzip");
    assert_eq!(bench.put("/fs/f", &[encoding], "x").await.code(), "unsupported_media_type");
    assert_eq!(bench.put("/fs/folder/", &[], "x").await.code(), "invalid_path");
    assert_eq!(bench.get("/fs?limit=0", &[]).await.code(), "invalid_field");
    assert_eq!(bench.get("/nodes/root/children?limit=-1", &[]).await.code(), "invalid_field");
    assert_eq!(bench.get("/nodes/root/children?sort=size", &[]).await.code(), "invalid_field");
    assert_eq!(bench.get("/nodes/root/children?cursor=forged", &[]).await.code(), "invalid_cursor");
    assert_eq!(bench.get("/changes?cursor=forged", &[]).await.code(), "invalid_cursor");
    assert_eq!(bench.get("/nodes/%ff", &[]).await.code(), "invalid_encoding");
    let method = bench.send(Method::POST, "/space", &[], Body::empty()).await;
    assert_eq!(
        (method.code().as_str(), &method.headers["allow"]),
        ("method_not_allowed", &"GET,HEAD".parse().unwrap())
    );
}
