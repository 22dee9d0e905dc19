//! What a method returned, as JSON.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::{Serialize, Serializer};

use crate::error::Error;

/// Said of an unknown name, and of a number that is not the user's.
pub const NO_USER: &str = "This user does not exist";
/// Said of what cannot be stored, for whatever reason.
pub const WRONG: &str = "Something is wrong";
/// Said of an empty value.
pub const EMPTY: &str = "This field must be filled";

/// What a method returned.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, which means success.
    Nothing,
    /// A whole number.
    Number(u64),
    /// Text that is no sentence about an error.
    Text(String),
    /// Keys and values, in order.
    Dictionary(Vec<(String, String)>),
    /// Names of files and where they are, in order.
    Files(Vec<(String, String)>),
    /// What went wrong, in words that clients compare.
    Sentence(Cow<'static, str>),
}

/// A request that failed outside its method.
#[derive(Debug)]
pub struct Failed(Error);

/// What a handler gives.
pub type Result<T = Answer, E = Failed> = std::result::Result<T, E>;

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl From<&'static str> for Answer {
    fn from(sentence: &'static str) -> Self {
        Self::Sentence(sentence.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        failure(&self.0)
    }
}

/// A failed request, as this API tells it.
pub fn failure(error: &Error) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
        code: &'static str,
    }

    let entry = error.entry();
    let body = Body { error: error.detail.as_deref().unwrap_or(entry.detail), code: entry.name };
    let mut response = json(entry.status, &body);
    let headers = response.headers_mut();
    if entry.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(delay) = error.retry_after {
        // Rounded up: coming back too early helps nobody.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(range) = error.size.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok()) {
        headers.insert(CONTENT_RANGE, range);
    }
    response
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            result: &'a Answer,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<bool>,
            #[serde(skip_serializing_if = "Option::is_none")]
            files: Option<Vec<File<'a>>>,
        }

        #[derive(Serialize)]
        struct File<'a> {
            filename: &'a str,
            file_path: &'a str,
        }

        let files = match &self {
            Self::Files(files) => {
                Some(files.iter().map(|(filename, file_path)| File { filename, file_path }).collect())
            }
            _ => None,
        };
        let error = matches!(self, Self::Sentence(_)).then_some(true);
        json(StatusCode::OK, &Body { result: &self, error, files })
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Dictionary(pairs) | Self::Files(pairs) => {
                serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
            }
            Self::Sentence(sentence) => serializer.serialize_str(sentence),
        }
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, serde_json::to_vec(body).unwrap_or_default()).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::error::Code;

    async fn body(response: Response) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    async fn answered(answer: impl Into<Answer>) -> String {
        body(answer.into().into_response()).await
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[tokio::test]
    async fn everything_that_a_method_returns_has_its_form() {
        assert_eq!(answered(Answer::Nothing).await, r#"{"result":null}"#);
        assert_eq!(answered(Answer::Number(7)).await, r#"{"result":7}"#);
        assert_eq!(answered(Answer::Text("ok".to_owned())).await, r#"{"result":"ok"}"#);
        assert_eq!(answered(NO_USER).await, r#"{"result":"This user does not exist","error":true}"#);
        let unsorted = pairs(&[("z", "z"), ("a", "z/a"), ("\"", "z/a/\"")]);
        assert_eq!(
            answered(Answer::Dictionary(unsorted)).await,
            r#"{"result":{"z":"z","a":"z/a","\"":"z/a/\""}}"#
        );
        assert_eq!(answered(Answer::Dictionary(vec![])).await, r#"{"result":{}}"#);
        assert_eq!(
            answered(Answer::Files(pairs(&[("a.txt", "u/1/2/a.txt")]))).await,
            r#"{"result":{"a.txt":"u/1/2/a.txt"},"files":[{"filename":"a.txt","file_path":"u/1/2/a.txt"}]}"#
        );
    }

    #[tokio::test]
    async fn a_failure_is_an_object_with_its_headers() {
        let response = failure(&Code::Unauthenticated.into());
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert!(body(response).await.ends_with(r#""code":"unauthenticated"}"#));
        let response = failure(&Error::new(Code::MalformedForm).detail("So it is."));
        assert_eq!(body(response).await, r#"{"error":"So it is.","code":"malformed_form"}"#);
    }
}
