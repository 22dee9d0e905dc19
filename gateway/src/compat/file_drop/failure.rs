//! Failures: `{"error": …}` with a status.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::error::{Code, Error};

/// A failed request.
pub struct Failure(pub Error);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// There is no file with that id.
pub fn no_file() -> Error {
    Error::new(Code::NotFound).detail("File not found")
}

/// The same, where a file was to be changed.
pub fn no_file_to_update() -> Error {
    Error::new(Code::NotFound).detail("File not found with the specified file_id.")
}

/// An upload without a file.
pub fn no_content() -> Error {
    Error::new(Code::MalformedForm).detail("No file provided")
}

/// An update with nothing in it.
pub fn no_update() -> Error {
    Error::new(Code::MalformedForm).detail("No file nor new file_name metadata provided")
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let entry = error.entry();
        let text = match error.code {
            // What is not there is a file, or looks like one.
            Code::NotFound => error.detail.as_deref().unwrap_or("File not found"),
            _ => error.detail.as_deref().unwrap_or(entry.title),
        };
        let mut response = (entry.status, Json(json!({ "error": text }))).into_response();
        let headers = response.headers_mut();
        if entry.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(delay) = error.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        if let Some(range) = error.size.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok())
        {
            headers.insert(CONTENT_RANGE, range);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn told(error: Error) -> (StatusCode, String) {
        let response = Failure(error).into_response();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn failures_are_one_sentence() {
        for (error, status, body) in [
            (no_content(), 400, r#"{"error":"No file provided"}"#),
            (no_update(), 400, r#"{"error":"No file nor new file_name metadata provided"}"#),
            (no_file(), 404, r#"{"error":"File not found"}"#),
            (Code::NotFound.into(), 404, r#"{"error":"File not found"}"#),
            (no_file_to_update(), 404, r#"{"error":"File not found with the specified file_id."}"#),
            (Code::QuotaExceeded.into(), 507, r#"{"error":"Quota exceeded"}"#),
            (Code::Unauthenticated.into(), 401, r#"{"error":"Not signed in"}"#),
        ] {
            assert_eq!(told(error).await, (StatusCode::from_u16(status).unwrap(), body.to_owned()));
        }
    }

    #[test]
    fn headers_say_what_comes_next() {
        let response = Failure(Code::Unauthenticated.into()).into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let response = Failure(Error { size: Some(5), ..Code::RangeNotSatisfiable.into() }).into_response();
        assert_eq!(response.headers()[CONTENT_RANGE], "bytes */5");
        let delay = Some(std::time::Duration::from_millis(1));
        let response = Failure(Error { retry_after: delay, ..Code::Overloaded.into() }).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
