//! Parts of a request, decoded; what cannot be decoded is a [`Problem`].

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::error::{Code, Error};
use crate::transfer::body::whole;
use crate::transfer::fields::is_json;

/// Longer idempotency keys are refused.
const MAX_KEY: usize = 255;

/// The parameters in the path of the URL, percent-decoded.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<axum::extract::rejection::PathRejection> for Problem {
    fn from(_: axum::extract::rejection::PathRejection) -> Self {
        // Our parameters are all text, so the only thing that can go wrong is its encoding.
        Code::InvalidEncoding.into()
    }
}

/// The parameters in the query of the URL.
pub struct Parameters<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri).map_err(|_| {
            Error::new(Code::InvalidField).detail("A parameter of the query is unknown or malformed.")
        })?;
        Ok(Self(query.0))
    }
}

/// A JSON body.
pub struct Json<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Error::new(Code::UnsupportedMediaType)
                .detail("The body must be JSON; send Content-Type: application/json.")
                .into());
        }
        let body = whole(request.into_body()).await?;
        if std::str::from_utf8(&body).is_err() {
            return Err(Code::InvalidEncoding.into());
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| refused(&error).into())
    }
}

/// An optional JSON body: nothing at all stands for an empty object.
pub struct MaybeJson<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if http_body::Body::is_end_stream(request.body()) && !request.headers().contains_key(CONTENT_TYPE) {
            return Ok(Self(T::default()));
        }
        Json::from_request(request, state).await.map(|Json(body)| Self(body))
    }
}

/// serde's messages quote what was sent, so only the place is passed on.
fn refused(error: &serde_json::Error) -> Error {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => Error::new(Code::InvalidField)
            .detail(format!("A field is missing, unknown, given twice, or of the wrong type: {place}.")),
        _ => Error::new(Code::MalformedJson).detail(format!("The body is not valid JSON: {place}.")),
    }
}

/// The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header), empty when there is none: a quoted string as
/// the draft has it, or bare as most clients send it.
pub struct IdempotencyKey(pub String);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        idempotency_key(&parts.headers).map(Self).map_err(Problem)
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Error> {
    let mut values = headers.get_all(HeaderName::from_static("idempotency-key")).iter();
    let Some(value) = values.next() else { return Ok(String::new()) };
    let malformed = || {
        Error::new(Code::InvalidHeader)
            .detail("An Idempotency-Key is 1 to 255 visible ASCII characters, sent once.")
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let valid = values.next().is_none()
        && (1..=MAX_KEY).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if valid { Ok(key.to_owned()) } else { Err(malformed()) }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;
    use crate::transfer::body::MAX_WHOLE;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body1 {
        name: String,
        #[serde(default)]
        size: u32,
    }

    async fn json(content_type: &'static str, body: impl Into<Body>) -> Result<Body1, Code> {
        let request = Request::builder().header(CONTENT_TYPE, content_type).body(body.into()).unwrap();
        Json::from_request(request, &()).await.map(|Json(body)| body).map_err(|problem| problem.0.code)
    }

    #[tokio::test]
    async fn json_is_read_strictly() {
        let good = Body1 { name: "a".to_owned(), size: 0 };
        assert_eq!(json("application/json", r#"{"name":"a"}"#).await, Ok(good));
        assert!(json("application/vnd.x+json; charset=utf-8", r#"{"name":"a"}"#).await.is_ok());
        for body in [
            r#"{"nam":"a"}"#,
            "{}",
            "[]",
            r#"{"name":1}"#,
            r#"{"name":"a","x":1}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","size":-1}"#,
            r#"{"name":"a","size":4294967296}"#,
            r#"{"name":"a","size":"1"}"#,
        ] {
            assert_eq!(json("application/json", body).await, Err(Code::InvalidField), "{body}");
        }
        for body in ["", "{", r#"{"name":"a"}x"#, "NaN", r#"{"name":"\ud800"}"#] {
            assert_eq!(json("application/json", body).await, Err(Code::MalformedJson), "{body}");
        }
        assert_eq!(json("application/json", &b"{\"name\":\"\xff\"}"[..]).await, Err(Code::InvalidEncoding));
        assert_eq!(json("application/json", vec![b' '; MAX_WHOLE + 1]).await, Err(Code::TooLarge));
        let deep = "[".repeat(10_000);
        assert!(json("application/json", deep).await.is_err());
        for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
            assert_eq!(json(other, r#"{"name":"a"}"#).await, Err(Code::UnsupportedMediaType), "{other}");
        }
    }

    #[tokio::test]
    async fn no_input_comes_back() {
        let body = r#"{"<script>":1}"#;
        let request =
            Request::builder().header(CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap();
        let Err(problem) = Json::<Body1>::from_request(request, &()).await else { panic!("accepted") };
        assert!(!String::from_utf8(problem.render("r")).unwrap().contains("script"));
    }

    #[test]
    fn idempotency_keys() {
        let key = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", HeaderValue::from_str(value).unwrap());
            }
            idempotency_key(&headers).ok()
        };
        assert_eq!(key(&[]).as_deref(), Some(""));
        assert_eq!(key(&["8e03978e-40d5"]).as_deref(), Some("8e03978e-40d5"));
        assert_eq!(key(&["\"8e03978e-40d5\""]).as_deref(), Some("8e03978e-40d5"));
        assert_eq!(key(&[&"k".repeat(255)]).map(|key| key.len()), Some(255));
        for bad in ["", "\"\"", "a b", "\"a", "a\"b", &"k".repeat(256)] {
            assert_eq!(key(&[bad]), None, "{bad}");
        }
        assert_eq!(key(&["a", "b"]), None);
    }
}
