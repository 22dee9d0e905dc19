//! The fields of a small form, in whatever way they were sent.

use axum::body::Body;
use axum::extract::Request;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::body::whole;
use super::multipart::{Form, boundary};
use crate::error::{Code, Result};

/// Names and values, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The first value with that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The fields of a request's body: of `multipart/form-data` without its files, of a JSON object, of anything else as
    /// `application/x-www-form-urlencoded`.
    pub async fn of(request: Request) -> Result<Self> {
        let (parts, body) = request.into_parts();
        Self::read(&parts.headers, body).await
    }

    /// See [`Fields::of`].
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self> {
        if let Some(boundary) = boundary(headers)? {
            let mut form = Form::of(boundary, body);
            let mut fields = Vec::new();
            let mut size = 0;
            while let Some(part) = form.next().await? {
                if part.file_name().is_none() {
                    let name = part.name().to_owned();
                    let text = part.text().await?;
                    size += name.len() + text.len();
                    if size > super::body::MAX_WHOLE {
                        return Err(Code::TooLarge.into());
                    }
                    fields.push((name, text));
                }
            }
            return Ok(Self(fields));
        }
        let body = whole(body).await?;
        if is_json(headers) { Self::json(&body) } else { Ok(Self::urlencoded(&body)) }
    }

    /// The fields of a JSON object. Numbers and truth values become text; null is the same as nothing.
    ///
    /// # Errors
    /// [`Code::MalformedJson`] when it is no object of such values.
    pub fn json(body: &[u8]) -> Result<Self> {
        let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
            return Err(Code::MalformedJson.into());
        };
        let mut fields = Vec::with_capacity(object.len());
        for (name, value) in object {
            match value {
                Value::Null => {}
                Value::String(text) => fields.push((name, text)),
                Value::Bool(_) | Value::Number(_) => fields.push((name, value.to_string())),
                Value::Array(_) | Value::Object(_) => return Err(Code::MalformedJson.into()),
            }
        }
        Ok(Self(fields))
    }

    /// The fields of a query or an urlencoded body. What is not UTF-8 is replaced.
    pub fn urlencoded(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }
}

/// Whether the header says that the body is of this type, whatever its parameters and however malformed they are.
pub fn is_of_type(headers: &HeaderMap, essence: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let named = value.split(|&byte| byte == b';').next().unwrap_or_default();
    named.trim_ascii().eq_ignore_ascii_case(essence.as_bytes())
}

/// Whether the header says that the body is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || essence.strip_prefix("application/").is_some_and(|rest| rest.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    async fn read(content_type: &'static str, body: &'static str) -> Result<Vec<(String, String)>, Code> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Fields::read(&headers, Body::from(body)).await.map(|fields| fields.0).map_err(|error| error.code)
    }

    fn fields(expected: &[(&str, &str)]) -> Result<Vec<(String, String)>, Code> {
        Ok(expected.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[tokio::test]
    async fn fields_are_read_from_all_kinds_of_bodies() {
        assert_eq!(
            read("application/json", r#"{"a":1,"b":"x y","c":true,"d":null}"#).await,
            fields(&[("a", "1"), ("b", "x y"), ("c", "true")])
        );
        assert_eq!(
            read("application/x-www-form-urlencoded", "b=x+y&a=%C3%BC&c").await,
            fields(&[("b", "x y"), ("a", "ü"), ("c", "")])
        );
        assert_eq!(
            read(
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--"
            )
            .await,
            fields(&[("a", "1")])
        );
        assert_eq!(read("", "").await, fields(&[]));
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        for body in ["", "[]", "{", "1", r#"{"a":[]}"#, r#"{"a":{}}"#] {
            assert_eq!(read("application/json", body).await, Err(Code::MalformedJson), "{body}");
        }
        assert_eq!(read("multipart/form-data; boundary=x", "--x\r\n").await, Err(Code::TruncatedBody));
        assert_eq!(read("multipart/form-data", "a").await, Err(Code::MalformedForm));
    }
}
