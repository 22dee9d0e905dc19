//! An HTTP client of one server, with or without credentials.

use std::{
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Body, Client, RequestBuilder, Response};
use serde_json::Value;

use crate::Answer;

/// A request has its whole answer within this time.
const LIMIT: Duration = Duration::from_secs(120);

/// What RFC 3986 lets stand in a path segment without an escape.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name, as one segment of a URL's path.
pub fn encode_segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// Names joined by `/`, as the end of a URL.
pub fn encode_path(path: &str) -> String {
    path.split('/').map(encode_segment).collect::<Vec<_>>().join("/")
}

/// Where a server is: at its only gateway, or at any of several, which take turns. Changes when it starts again.
#[derive(Clone, Default)]
pub(crate) struct Location(Arc<Gateways>);

#[derive(Default)]
struct Gateways {
    urls: RwLock<Vec<String>>,
    turn: AtomicUsize,
}

impl Location {
    /// From now on it is there.
    pub(crate) fn set(&self, urls: Vec<String>) {
        *self.0.urls.write().expect("not poisoned") = urls;
    }

    /// The first gateway.
    pub(crate) fn first(&self) -> String {
        let urls = self.0.urls.read().expect("not poisoned");
        urls.first().cloned().expect("a gateway is running")
    }

    /// The gateway whose turn it is.
    pub(crate) fn next(&self) -> String {
        let urls = self.0.urls.read().expect("not poisoned");
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        urls.get(turn % urls.len().max(1)).cloned().expect("a gateway is running")
    }
}

/// A client. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Api {
    http: Client,
    location: Location,
    bearer: Option<String>,
}

impl Api {
    pub(crate) fn new(location: Location) -> Self {
        Self::with_idle(location, usize::MAX)
    }

    /// With so many connections, at most, that wait for another request.
    fn with_idle(location: Location, most: usize) -> Self {
        // reqwest asks for a provider even where no URL is https.
        static PROVIDER: OnceLock<()> = OnceLock::new();
        PROVIDER.get_or_init(|| {
            // Somebody else may have chosen one already: any will do.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let http = Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            // Shorter than the server keeps an idle connection, so that no request meets its end.
            .pool_idle_timeout(Duration::from_secs(5))
            .pool_max_idle_per_host(most)
            .build()
            .expect("a client without TLS roots");
        Self { http, location, bearer: None }
    }

    /// The same client with that bearer token.
    #[must_use]
    pub fn with_bearer(&self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// The same client without credentials.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { bearer: None, ..self.clone() }
    }

    /// The same client with connections of its own.
    #[must_use]
    pub fn reconnected(&self) -> Self {
        Self { bearer: self.bearer.clone(), ..Self::new(self.location.clone()) }
    }

    /// The same client with a connection for each request. Whoever takes one from before just as the server is killed may never
    /// be told ([hyper #4122](https://github.com/hyperium/hyper/issues/4122)).
    #[must_use]
    pub fn unpooled(&self) -> Self {
        Self { bearer: self.bearer.clone(), ..Self::with_idle(self.location.clone(), 0) }
    }

    /// What goes into `Authorization`, if anything does.
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_deref()
    }

    /// Where the server is, as links say: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.location.first()
    }

    /// Where the next request goes, as [`url`](Self::url) of that gateway.
    pub fn next_url(&self) -> String {
        self.location.next()
    }

    /// A call to a path of the native API, such as `/space`.
    pub fn call(&self, method: Method, path: &str) -> Call {
        self.call_at(method, &format!("/api/v1{path}"))
    }

    /// A call to any path of the server.
    pub fn call_at(&self, method: Method, path: &str) -> Call {
        let request = format!("{method} {path}");
        let mut builder = self.http.request(method, format!("{}{path}", self.location.next()));
        if let Some(token) = &self.bearer {
            builder = builder.bearer_auth(token);
        }
        Call { request, builder }
    }

    /// GET of the native API.
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// HEAD of the native API.
    pub fn head(&self, path: &str) -> Call {
        self.call(Method::HEAD, path)
    }

    /// POST to the native API.
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// PUT to the native API.
    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// PATCH of the native API.
    pub fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    /// DELETE of the native API.
    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }
}

/// A request in the making.
pub struct Call {
    request: String,
    builder: RequestBuilder,
}

impl Call {
    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        Self { builder: self.builder.header(name, value), ..self }
    }

    /// Sends JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        Self { builder: self.builder.json(body), ..self }
    }

    /// Sends bytes.
    #[must_use]
    pub fn body(self, body: impl Into<Body>) -> Self {
        Self { builder: self.builder.body(body), ..self }
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Answer {
        let request = self.request.clone();
        self.try_send().await.unwrap_or_else(|error| panic!("{request}: {error:?}"))
    }

    /// As [`Self::send`], where a connection that breaks is no surprise.
    pub async fn try_send(self) -> reqwest::Result<Answer> {
        let request = self.request;
        let response = self.builder.timeout(LIMIT).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await?;
        Ok(Answer { request, status, headers, body })
    }

    /// Sends it and leaves the body of the answer to be read.
    pub async fn open(self) -> Response {
        let request = self.request;
        self.builder.send().await.unwrap_or_else(|error| panic!("{request}: {error:?}"))
    }
}
