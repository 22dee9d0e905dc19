//! What is said, and in which shape failures are.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::{Serialize, Serializer};

use super::limits::{self, Endpoint};
use crate::App;
use crate::error::{Code, Error};
use crate::identity::ClientAddress;

/// An answer in JSON, which no cache keeps.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `status` of everything that went well.
pub const SUCCESS: &str = "success";

/// An answer that says only what happened.
#[derive(Serialize)]
pub struct Said {
    status: &'static str,
    message: &'static str,
}

impl Said {
    /// It went well.
    pub fn success(message: &'static str) -> Response {
        json(StatusCode::OK, &Self { status: SUCCESS, message })
    }
}

#[derive(Serialize)]
struct About {
    status: &'static str,
    message: &'static str,
    docs: &'static str,
}

/// `GET /api`: what this is.
pub async fn about(State(app): State<App>, client: ClientAddress) -> Result<Response, Failure> {
    limits::admit_client(&app, Endpoint::About, &client)?;
    let about = About {
        status: SUCCESS,
        message: "File uploader RESTful API",
        docs: "https://github.com/Andcool-Systems/File-uploader/blob/main/README.md",
    };
    Ok(json(StatusCode::OK, &about))
}

/// Why a request is not taken for that of an account (section 1.1 of the documentation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// There is no token.
    Missing,
    /// What is there is not `Bearer` and a token.
    Malformed,
    /// It is over.
    Expired,
    /// It is no token, or not one of ours.
    Invalid,
    /// It was ours: logged out, refreshed, or over for long.
    Unknown,
}

impl AuthError {
    fn parts(self) -> (i32, &'static str) {
        match self {
            Self::Missing => (-1, "No Authorization header provided"),
            Self::Malformed => (-2, "Authorization header must have Bearer <token> format"),
            Self::Expired => (-3, "Access token expired"),
            Self::Invalid => (-4, "Invalid access token"),
            Self::Unknown => (-5, "Token not found"),
        }
    }
}

impl Serialize for AuthError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (id, message) = self.parts();
        Problem { message: message.into(), id: Some(id), ..Problem::default() }.serialize(serializer)
    }
}

/// What went wrong, with what there is to say of it.
#[derive(Default, Serialize)]
struct Problem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    message: Cow<'a, str>,
    #[serde(rename = "errorId", skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_error: Option<AuthError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<[Detail; 1]>,
}

/// A parameter at fault, as FastAPI tells it.
#[derive(Serialize)]
struct Detail {
    loc: [&'static str; 2],
    msg: &'static str,
    r#type: &'static str,
}

#[derive(Serialize)]
struct Limited {
    error: String,
}

/// A failed request.
#[derive(Debug)]
pub enum Failure {
    /// It needs an account.
    Auth(AuthError),
    /// This API says it so.
    Said(StatusCode, &'static str),
    /// The same, with a number for programs.
    Numbered(StatusCode, &'static str, i32),
    /// The file is larger than the limit, in bytes.
    TooLarge(u64),
    /// More than so many calls in a minute.
    Limited(u32, Duration),
    /// A parameter that has to be true or false is neither.
    NotBoolean(&'static str),
    /// Anything else.
    Other(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = |status, message| (status, Problem { message, ..Problem::default() });
        let (status, problem) = match self {
            Self::Auth(error) => (
                StatusCode::UNAUTHORIZED,
                Problem { message: "Auth error".into(), auth_error: Some(error), ..Problem::default() },
            ),
            Self::Said(status, message) => problem(status, message.into()),
            Self::Numbered(status, message, id) => {
                (status, Problem { message: message.into(), id: Some(id), ..Problem::default() })
            }
            Self::TooLarge(limit) => problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("File size exceeds the limit ({})", super::facts::limit(limit)).into(),
            ),
            Self::Limited(most, wait) => return limited(&format!(": {most} per 1 minute"), Some(wait)),
            Self::NotBoolean(parameter) => {
                let msg = "value could not be parsed to a boolean";
                let detail = Detail { loc: ["query", parameter], msg, r#type: "type_error.bool" };
                let message = format!("{parameter}: {msg}").into();
                let problem = Problem { message, detail: Some([detail]), ..Problem::default() };
                (StatusCode::UNPROCESSABLE_ENTITY, problem)
            }
            Self::Other(error) => return failure(&error),
        };
        json(status, &Problem { status: Some("error"), ..problem })
    }
}

fn limited(what: &str, wait: Option<Duration>) -> Response {
    let body = Limited { error: format!("Rate limit exceeded{what}") };
    with_retry(json(StatusCode::TOO_MANY_REQUESTS, &body), wait)
}

fn with_retry(mut response: Response, wait: Option<Duration>) -> Response {
    if let Some(wait) = wait {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        if let Ok(seconds) = HeaderValue::try_from(seconds.to_string()) {
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
    }
    response
}

/// A failed request, as this API tells it.
pub fn failure(error: &Error) -> Response {
    let entry = error.entry();
    match error.code {
        Code::RateLimited => return limited("", error.retry_after),
        Code::Unauthenticated => return Failure::Auth(AuthError::Unknown).into_response(),
        _ => {}
    }
    let problem = Problem { status: Some("error"), message: entry.title.into(), ..Problem::default() };
    let mut response = with_retry(json(entry.status, &problem), error.retry_after);
    let size = error.size.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok());
    if let Some(range) = size {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    response
}

/// A method that a path does not know.
pub fn not_allowed(methods: &'static str) -> Response {
    let mut response = failure(&Code::MethodNotAllowed.into());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// The start of the addresses of files.
pub fn files_at(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<String, Error> {
    Ok(format!("{}/file/", app.base_url(uri, headers)?))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn said(failure: Failure) -> (u16, String) {
        let response = failure.into_response();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn failures_have_the_shapes_of_the_documentation() {
        let id = StatusCode::BAD_REQUEST;
        for (failure, status, body) in [
            (
                Failure::Auth(AuthError::Missing),
                401,
                r#"{"status":"error","message":"Auth error","auth_error":{"message":"No Authorization header provided","errorId":-1}}"#,
            ),
            (Failure::Said(id, "No file"), 400, r#"{"status":"error","message":"No file"}"#),
            (Failure::Numbered(id, "x", 2), 400, r#"{"status":"error","message":"x","errorId":2}"#),
            (
                Failure::TooLarge(100 << 20),
                413,
                r#"{"status":"error","message":"File size exceeds the limit (100MB)"}"#,
            ),
            (
                Failure::Limited(2, Duration::from_millis(1500)),
                429,
                r#"{"error":"Rate limit exceeded: 2 per 1 minute"}"#,
            ),
            (
                Failure::NotBoolean("bot"),
                422,
                r#"{"status":"error","message":"bot: value could not be parsed to a boolean","detail":[{"loc":["query","bot"],"msg":"value could not be parsed to a boolean","type":"type_error.bool"}]}"#,
            ),
            (
                Failure::Other(Code::MethodNotAllowed.into()),
                405,
                r#"{"status":"error","message":"Method not allowed"}"#,
            ),
        ] {
            assert_eq!(said(failure).await, (status, body.to_owned()));
        }
    }

    #[test]
    fn waiting_is_rounded_up() {
        let response = Failure::Limited(2, Duration::from_millis(1500)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
