//! The small forms of this API: JSON, urlencoded or multipart.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{Refused, Result, plain};
use crate::error::Code;
use crate::transfer::body::whole;
use crate::transfer::fields::{Fields, is_json};
use crate::transfer::multipart::boundary;

/// The field with which our own pages ask for a page.
pub const PAGE: &str = "page";

/// The fields of a request's body.
///
/// JSON is known by its looks too: clients of the original send it under any type. Of a JSON object the texts count; fields
/// of another type are as good as missing.
///
/// # Errors
/// 400 without a body for what is no form at all.
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Fields> {
    let multipart = boundary(headers).is_ok_and(|boundary| boundary.is_some());
    let read = if multipart {
        Fields::read(headers, body).await
    } else {
        match whole(body).await {
            Ok(bytes) if is_json(headers) || bytes.trim_ascii_start().starts_with(b"{") => json(&bytes),
            Ok(bytes) => Ok(Fields::urlencoded(&bytes)),
            Err(error) => Err(error),
        }
    };
    read.map_err(|error| match error.code {
        Code::MalformedForm | Code::MalformedJson | Code::InvalidEncoding | Code::TruncatedBody => {
            plain(StatusCode::BAD_REQUEST, "").into()
        }
        _ => Refused::from(error),
    })
}

fn json(bytes: &[u8]) -> crate::error::Result<Fields> {
    let Ok(Value::Object(object)) = serde_json::from_slice(bytes) else {
        return Err(Code::MalformedJson.into());
    };
    let texts = object.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, text)),
        _ => None,
    });
    Ok(Fields(texts.collect()))
}

/// Whether one of our own pages sent it.
pub fn is_page(fields: &Fields) -> bool {
    fields.get(PAGE) == Some("1")
}

/// The names of bad fields, one after the other.
pub fn bad(names: &str) -> Response {
    plain(StatusCode::BAD_REQUEST, names.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;

    async fn username(content_type: &'static str, body: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let fields = read(&headers, Body::from(body)).await.ok()?;
        Some(fields.get("username").unwrap_or("missing").to_owned())
    }

    #[tokio::test]
    async fn forms_of_all_kinds_are_read() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(username("application/json", r#"{"username":"a b"}"#).await, some("a b"));
        assert_eq!(username("application/x-www-form-urlencoded", " {\"username\":\"a\"}").await, some("a"));
        assert_eq!(username("text/plain", "username=a+b").await, some("a b"));
        assert_eq!(username("application/json", r#"{"username":1}"#).await, some("missing"));
        assert_eq!(username("application/json", "{}").await, some("missing"));
        for bad in ["", "[]", "\"x\"", "{\"username\"", "username=a"] {
            assert_eq!(username("application/json", bad).await, None, "{bad}");
        }
        let multipart = "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\na\r\n--x--";
        assert_eq!(username("multipart/form-data; boundary=x", multipart).await, some("a"));
        assert_eq!(username("multipart/form-data; boundary=x", "--x\r\nbroken").await, None);
    }
}
