//! What a server answered, and the checks that every test makes on it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A whole response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked, for messages.
    pub request: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Fails the test unless this is the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{} answered {}", self.request, self.text());
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON of some type.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let kind = self.header("content-type");
        assert!(kind == "application/json" || kind.ends_with("+json"), "{} answered {kind}", self.request);
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} answered {}: {error}", self.request, self.text()))
    }

    /// The only header of that name.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.maybe_header(name).unwrap_or_else(|| panic!("{}: no {name} in {:?}", self.request, self.headers))
    }

    /// The header of that name, if there is one. Two of them fail the test.
    #[track_caller]
    pub fn maybe_header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{}: more than one {name}", self.request);
        Some(value.to_str().expect("headers are visible ASCII"))
    }

    /// The quoted entity tag.
    #[track_caller]
    pub fn etag(&self) -> String {
        let etag = self.header("etag");
        assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "not a strong tag: {etag}");
        etag.to_owned()
    }

    /// Fails the test unless this is an RFC 9457 problem with that status and code, made as every problem is; gives its
    /// members.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let text = self.text();
        assert_eq!(self.status.as_u16(), status, "{} answered {text}", self.request);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}: {text}", self.request);
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        assert_eq!(problem["code"], code, "{}: {text}", self.request);
        assert_eq!(problem["status"], status, "{}: {text}", self.request);
        assert!(problem["retryable"].is_boolean(), "{}: {text}", self.request);
        for member in ["type", "title", "code", "request_id"] {
            assert!(
                problem[member].as_str().is_some_and(|value| !value.is_empty()),
                "{}: no {member} in {text}",
                self.request
            );
        }
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{}: {text}", self.request);
        if status == 401 {
            assert!(self.header("www-authenticate").starts_with("Bearer"), "{}: {text}", self.request);
        }
        self.reveals_nothing();
        problem
    }

    /// Fails the test when the body shows what no stranger should see: paths, statements, traces.
    #[track_caller]
    pub fn reveals_nothing(&self) {
        if let Some(inside) = self.revealed() {
            panic!("{} shows {inside:?}: {}", self.request, self.text());
        }
    }

    /// What the body shows that no stranger should see, if it does.
    pub fn revealed(&self) -> Option<&'static str> {
        let text = self.text();
        [
            "SELECT ",
            "INSERT ",
            "UPDATE ",
            "sqlx",
            "sqlite",
            "postgres",
            "panicked",
            ".rs:",
            "/tmp/",
            "src/",
            "tonic",
            "RUST_BACKTRACE",
            "grpc",
        ]
        .into_iter()
        .find(|inside| text.contains(inside))
    }

    /// What a caller can tell two answers apart by: all but the parts that are different each time.
    #[track_caller]
    pub fn seen(&self) -> (u16, Value, Vec<String>) {
        let mut body = serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::String(self.text()));
        if let Some(members) = body.as_object_mut() {
            members.remove("request_id");
        }
        let mut headers: Vec<String> = self.headers.keys().map(|name| name.as_str().to_owned()).collect();
        headers.sort();
        (self.status.as_u16(), body, headers)
    }
}
