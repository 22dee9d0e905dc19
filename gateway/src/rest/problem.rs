//! Failures as the native API shows them: RFC 9457 problem details.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Code, Error};

/// A failed request of the native API.
///
/// As an answer it has its status and headers already and gets its body from [`Problem::render`], at the edge, where the
/// id of the request is known.
#[derive(Debug, Clone)]
pub struct Problem(pub Error);

/// What a handler of the native API gives.
pub type Result<T = Response> = std::result::Result<T, Problem>;

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.entry().status;
        self.headers(response.headers_mut());
        response.extensions_mut().insert(self);
        response
    }
}

/// A problem details object (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body9457<'a> {
    /// A URI for the kind of problem: `urn:holdall:problem:` and the code.
    #[schema(value_type = String, example = "urn:holdall:problem:not_found")]
    r#type: Type,
    /// What happened, in a few words, the same for each problem of the kind.
    #[schema(example = "Not found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened and what to do, for people.
    detail: &'a str,
    /// The kind of problem, for programs.
    #[schema(example = "not_found")]
    code: &'static str,
    /// Names the request in the server's log.
    request_id: &'a str,
    /// Whether the very same request may succeed later.
    retryable: bool,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Field<'a>>,
}

/// A field of the request that is at fault.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProblemField)]
pub struct Field<'a> {
    /// Its name.
    field: &'a str,
    /// What is wrong with it.
    description: &'a str,
}

#[derive(Debug)]
struct Type(Code);

impl Serialize for Type {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:holdall:problem:{}", self.0.entry().name))
    }
}

impl Problem {
    fn headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.0.entry().status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(delay) = self.0.retry_after {
            // Rounded up: coming back too early helps nobody.
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let size = self.0.size.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok());
        if let Some(range) = size {
            headers.insert(CONTENT_RANGE, range);
        }
    }

    /// The body of the answer.
    pub fn render(&self, request_id: &str) -> Vec<u8> {
        let entry = self.0.entry();
        let body = Body9457 {
            r#type: Type(self.0.code),
            title: entry.title,
            status: entry.status.as_u16(),
            detail: self.0.detail.as_deref().unwrap_or(entry.detail),
            code: entry.name,
            request_id,
            retryable: entry.retryable,
            errors: self.0.fields.iter().map(|(field, description)| Field { field, description }).collect(),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// Gives the answer to a request of this method that is a problem its body; others pass.
    pub fn complete(mut response: Response, method: &Method, request_id: &str) -> Response {
        let Some(mut problem) = response.extensions_mut().remove::<Self>() else { return response };
        if method.is_safe() {
            problem = Self(problem.0.of_read());
            *response.status_mut() = problem.0.entry().status;
            problem.headers(response.headers_mut());
        }
        let body = problem.render(request_id);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if method == Method::HEAD { response } else { response.map(|_| Body::from(body)) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;

    async fn answered(error: Error) -> (StatusCode, HeaderMap, serde_json::Value) {
        let response = Problem::complete(Problem::from(error).into_response(), &Method::POST, "r-1");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.headers[CONTENT_LENGTH], body.len().to_string());
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn every_code_gives_a_complete_problem() {
        for &code in Code::ALL {
            let (status, headers, body) = answered(code.into()).await;
            let entry = code.entry();
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            assert_eq!(status, entry.status);
            assert_eq!(body["status"], entry.status.as_u16());
            assert_eq!(body["code"], entry.name);
            assert_eq!(body["type"], format!("urn:holdall:problem:{}", entry.name));
            assert_eq!(body["request_id"], "r-1");
            assert_eq!(body["retryable"], entry.retryable);
            assert!(body["title"].is_string() && body["detail"].is_string());
            assert!(body.get("errors").is_none());
            assert_eq!(headers.contains_key(WWW_AUTHENTICATE), status == StatusCode::UNAUTHORIZED);
        }
    }

    #[tokio::test]
    async fn a_read_has_no_unknown_outcome() {
        let response =
            Problem::complete(Problem::from(Code::OutcomeUnknown).into_response(), &Method::GET, "r-1");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.windows(13).any(|part| part == b"\"unavailable\""));
    }

    #[tokio::test]
    async fn details_fields_and_delays_are_shown() {
        let mut error = Error::new(Code::RateLimited).detail("Slow down.").field("password", "is too short");
        error.retry_after = Some(Duration::from_millis(1_200));
        let (_, headers, body) = answered(error).await;
        assert_eq!(headers[RETRY_AFTER], "2");
        assert_eq!(body["detail"], "Slow down.");
        assert_eq!(body["errors"], serde_json::json!([{"field": "password", "description": "is too short"}]));
    }

    #[tokio::test]
    async fn an_empty_range_tells_the_size() {
        let (_, headers, _) = answered(Error { size: Some(17), ..Code::RangeNotSatisfiable.into() }).await;
        assert_eq!(headers[CONTENT_RANGE], "bytes */17");
    }
}
