//! The listener for operators: whether the process lives and is ready, what it measures, and what it is.
//!
//! | path | answer |
//! | --- | --- |
//! | `/livez` | 200 while the process runs. Asks nobody else: restarting it would mend nothing |
//! | `/readyz` | 200 while requests are taken: not during the start, and not any more once it was told to stop; 503 otherwise |
//! | `/metrics` | what is measured, in the text format of Prometheus (version 0.0.4) |
//! | `/build` | name and version of the program, as JSON |
//!
//! It answers from before the start is complete until the last request was finished. That a database or another service
//! cannot be reached does not make a process unready: all replicas would go at once, and with them the answers that say what
//! is wrong.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::task::JoinHandle;

use crate::config::{ServerConfig, ServerLimits};
use crate::run::{self, StartError};
use crate::serve::{Profile, Server};
use crate::shutdown::Shutdown;
use crate::telemetry::Scrape;

/// How long the last answers may take once everything else has stopped.
const LINGER: Duration = Duration::from_secs(1);
/// Operators are few.
const MAX_CONNECTIONS: usize = 64;

/// Whether a process takes requests. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// From now on it does.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A listener that is being served.
#[derive(Debug)]
pub(crate) struct Admin {
    stop: Shutdown,
    serving: JoinHandle<()>,
}

/// What the answers are made from.
struct State {
    name: &'static str,
    ready: Ready,
    shutdown: Shutdown,
    scrape: Scrape,
}

impl Admin {
    /// Takes the address and answers on it from now on.
    pub(crate) async fn start(
        addr: SocketAddr,
        name: &'static str,
        ready: Ready,
        shutdown: Shutdown,
        scrape: Scrape,
    ) -> Result<Self, StartError> {
        let limits = ServerLimits { max_connections: MAX_CONNECTIONS, ..ServerLimits::default() };
        let server = Server::new(Profile::Edge, &ServerConfig { limits, ..ServerConfig::default() })?;
        let listener = run::bind(addr).await?;
        run::announce(&format!("{name} admin"), "http", &listener);
        let state = Arc::new(State { name, ready, shutdown, scrape });
        let service = tower::service_fn(move |request: Request<_>| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(state.answer(request.method(), request.uri().path())) }
        });
        let stop = Shutdown::new(LINGER);
        let until = stop.clone();
        let serving = tokio::spawn(async move { server.serve(listener, service, &until).await });
        Ok(Self { stop, serving })
    }

    /// Answers what was asked already, then nothing more.
    pub(crate) async fn stop(self) {
        self.stop.request();
        // It can only have panicked, which the log tells.
        let _ = self.serving.await;
    }
}

impl State {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.shutdown.has_begun() => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/readyz" if self.ready.get() => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            "/metrics" => match self.scrape.text() {
                Ok(metrics) => body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics),
                Err(error) => {
                    tracing::error!(%error, "cannot write out metrics");
                    text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written out; see the log\n")
                }
            },
            "/build" => {
                let build = serde_json::json!({ "name": self.name, "version": env!("CARGO_PKG_VERSION") });
                body(StatusCode::OK, "application/json", build.to_string())
            }
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz, /metrics and /build\n"),
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    body(status, "text/plain; charset=utf-8", text)
}

fn body(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
