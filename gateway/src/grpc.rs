//! gRPC and gRPC-Web for anybody, at the address of the gateway.
//!
//! ```text
//! methods   what is public, and which service has it     (read from the contract; everything else does not exist)
//! frames    where messages begin and end, and how long they are
//! address   what the gateway alone knows of the client, put into messages that ask for it
//! answer    failures as gRPC statuses, and ends of answers
//! local     health and reflection
//! ```
//!
//! Streams are passed on as they come, in both directions, and nothing of them is kept. Of the headers only those go on that
//! have a meaning to services. One credential is enough: the handle of a session is exchanged for an access token, as for
//! REST; an access token goes on as it is. Nothing here looks at a cookie, so scripts of any origin may call.

mod address;
mod answer;
mod frames;
mod local;
mod methods;

use std::convert::Infallible;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use holdall_proto::error::v1::Reason;
use holdall_runtime::BoxError;
use holdall_runtime::layers::deadline;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::status::Failure;
use holdall_runtime::upstream::Upstream;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use http_body_util::Full;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_web::GrpcWebLayer;
use tower::{Layer, ServiceExt, service_fn};

use crate::App;
use crate::error::Error;
use crate::identity::{ClientAddress, Handle};
use crate::limits::Rule;
use crate::ops::sessions;
use crate::upstreams::Upstreams;
use answer::Answer;
use methods::{Methods, Service};

/// How often a source may try secrets of links that are short enough to be guessed where nobody counts.
const GUESSES: Rule = Rule::per_minute("grpc: guesses of links", 300);

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// How the messages of a call are compressed. None of the services takes any compression, and says so by itself.
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// What is public, and how it is reached.
pub struct Grpc {
    methods: Methods,
    local: Upstream,
    shutdown: Shutdown,
}

impl Grpc {
    /// All that the contract has for users. What has no end by itself ends with `shutdown`.
    ///
    /// # Errors
    /// When the contract's own description cannot be read.
    pub fn new(upstreams: &Upstreams, shutdown: Shutdown) -> Result<Self, BoxError> {
        let methods = Methods::of_contract()?;
        let local = local::services(upstreams, methods.services(), methods.descriptors())?;
        Ok(Self { methods, local, shutdown })
    }

    fn upstream(&self, service: Service, upstreams: &Upstreams) -> Upstream {
        let connections = upstreams.connections();
        match service {
            Service::Auth => &connections.auth,
            Service::Metadata => &connections.metadata,
            Service::Blob => &connections.blob,
            Service::BlobControl => &connections.blob_control,
            Service::Local => &self.local,
        }
        .clone()
    }
}

/// Whether a path is a method of ours, or could be one: packages that are not ours are found nowhere.
pub fn is_method(path: &str) -> bool {
    path.starts_with("/holdall.") || path.starts_with("/grpc.")
}

/// The public methods.
pub fn routes(grpc: &Grpc) -> Router<App> {
    grpc.methods.paths().fold(Router::new(), |router, path| router.route(path, post(call)))
}

/// The answer to a call that failed before it was one.
pub fn failure(error: &Error) -> Response {
    answer::of_error(error)
}

/// Answers a call of any method, known or not.
pub async fn call(State(app): State<App>, client: ClientAddress, mut request: Request) -> Response {
    let pass = |request| async { Ok::<_, Infallible>(pass(&app, &client, request).await) };
    let answered = match Wire::of(&request) {
        Ok(Wire::Grpc) => pass(request.map(Body::new)).await,
        Ok(Wire::Web(kind)) => {
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, kind.clone());
            if headers.get(ACCEPT).is_none_or(|accept| accept == "*/*") {
                headers.insert(ACCEPT, kind);
            }
            GrpcWebLayer::new().layer(service_fn(pass)).oneshot(request).await
        }
        Err(error) => return failure(&error),
    };
    let Ok(answer) = answered;
    answer.map(axum::body::Body::new)
}

/// How a call arrives.
enum Wire {
    Grpc,
    /// With the type of its content.
    Web(HeaderValue),
}

impl Wire {
    fn of(request: &Request) -> Result<Self, Error> {
        use crate::error::Code;
        if request.method() != Method::POST {
            return Err(Code::MethodNotAllowed.into());
        }
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match &*kind {
            "application/grpc" | "application/grpc+proto" if request.version() >= Version::HTTP_2 => {
                Ok(Self::Grpc)
            }
            "application/grpc" | "application/grpc+proto" => {
                Err(Error::new(Code::InvalidHeader).detail("gRPC takes HTTP/2; gRPC-Web does not"))
            }
            "application/grpc-web" | "application/grpc-web+proto" => {
                Ok(Self::Web(HeaderValue::from_static("application/grpc-web+proto")))
            }
            "application/grpc-web-text" | "application/grpc-web-text+proto" => {
                Ok(Self::Web(HeaderValue::from_static("application/grpc-web-text+proto")))
            }
            _ => Err(Code::UnsupportedMediaType.into()),
        }
    }
}

/// Passes a call on.
async fn pass(app: &App, client: &ClientAddress, request: http::Request<Body>) -> http::Response<Body> {
    try_pass(app, client, request).await.unwrap_or_else(Status::into_http)
}

async fn try_pass(
    app: &App,
    client: &ClientAddress,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let method = app
        .grpc
        .methods
        .find(parts.uri.path())
        .ok_or_else(|| Status::unimplemented("there is no such method"))?;
    if method.is_guess {
        app.limits.take(GUESSES, &client.source(), 1).map_err(|wait| {
            Failure::new(Code::ResourceExhausted, Reason::RateLimited.name(), "too many attempts")
                .retry_after(wait)
                .status()
        })?;
    }
    let (frames, fault) = frames::watch(body, method.streams);
    let body = if method.streams {
        Body::new(frames)
    } else {
        let message = frames.message().await?;
        let message = match method.address {
            Some(field) => address::put(&message, field, &client.0)?,
            None => message,
        };
        Body::new(Full::new(frames::framed(&message)))
    };
    let mut onward = http::Request::new(body);
    *onward.method_mut() = Method::POST;
    *onward.uri_mut() = http::Uri::from_static(method.path);
    *onward.version_mut() = Version::HTTP_2;
    *onward.headers_mut() = headers(&parts.headers);
    let mut ended = None;
    if method.service.takes_tokens() {
        match authorization(app, &parts.headers).await? {
            Proof::Of(values) => {
                for value in values {
                    onward.headers_mut().append(AUTHORIZATION, value);
                }
            }
            Proof::Ended(status) => ended = Some(status),
        }
    }
    let upstream = app.grpc.upstream(method.service, &app.upstreams);
    let answered = upstream.oneshot(onward).await;
    if let Some(status) = fault.take() {
        return Err(status);
    }
    let answer = answered.map_err(|error| answer::of_transport(&Status::from_error(error.into())))?;
    let status = Status::from_header_map(answer.headers());
    if let (Some(status), Some(ended)) = (&status, ended)
        && answer::has_reason(status, Reason::TokenMissing)
    {
        return Err(ended);
    }
    if method.service == Service::Local && status.is_some_and(|status| status.code() == Code::Internal) {
        // What the library says of a message that cannot be read.
        return Err(answer::unreadable());
    }
    let stop = method.is_endless.then(|| app.grpc.shutdown.clone());
    Ok(answer.map(|body| Body::new(Answer::new(body, fault, stop))))
}

/// What goes on to a service.
fn headers(from: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(limit) = deadline::read(from) {
        deadline::write(&mut headers, limit);
    }
    if let Some(encoding) = from.get(GRPC_ENCODING) {
        headers.insert(GRPC_ENCODING, encoding.clone());
    }
    headers
}

/// Who calls.
enum Proof {
    /// Headers for the service.
    Of(Vec<HeaderValue>),
    /// A session that is not live. Some methods need none, so the call goes on without; this is for those that do.
    Ended(Status),
}

/// Exchanges the handle of a session for an access token, each time, so that a session that has ended is refused at once.
/// Everything else, an access token or nonsense, is for the service to look at.
async fn authorization(app: &App, headers: &HeaderMap) -> Result<Proof, Status> {
    let handle = Handle::of(headers).ok().filter(|handle| !handle.0.contains('.'));
    let Some(handle) = handle else {
        return Ok(Proof::Of(headers.get_all(AUTHORIZATION).iter().cloned().collect()));
    };
    let token = match sessions::exchange(&app.upstreams, handle.0).await {
        Ok(exchanged) => exchanged.access_token.unwrap_or_default().token,
        Err(status) if answer::has_reason(&status, Reason::SessionInvalid) => {
            return Ok(Proof::Ended(status));
        }
        Err(status) => return Err(answer::of_transport(&status)),
    };
    let value = HeaderValue::try_from(format!("Bearer {token}")).map(|mut value| {
        value.set_sensitive(true);
        value
    });
    Ok(Proof::Of(value.into_iter().collect()))
}
