//! The parameters of a call.

use axum::body::Body;
use axum::extract::Request;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use uuid::Uuid;

use crate::App;
use crate::error::{Code, Result};
use crate::identity::{Handle, identify};
use crate::ops::Caller;
use crate::transfer::fields::Fields;

/// Parameters by name; unknown ones do not matter.
pub struct Parameters {
    query: Fields,
    body: Fields,
    bearer: Option<Handle>,
}

impl Parameters {
    /// Those in the query, in which `+` is a blank.
    pub fn of_query(uri: &Uri, headers: &HeaderMap) -> Self {
        let query = Fields::urlencoded(uri.query().unwrap_or_default().as_bytes());
        Self { query, body: Fields::default(), bearer: Handle::of(headers).ok() }
    }

    /// Those in the query, and after them those in a small body, so that secrets need not stand in a URL.
    pub async fn of(request: Request) -> Result<Self> {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let mut parameters = Self::of_query(&uri, &headers);
        if has_fields(&method, &body) {
            parameters.body = Fields::read(&headers, body).await?;
        }
        Ok(parameters)
    }

    /// The value; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.query.get(name).or_else(|| self.body.get(name)).unwrap_or_default()
    }

    /// Who calls: the holder of `authid`, which may also stand in `Authorization: Bearer`.
    pub async fn caller(&self, app: &App) -> Result<Caller> {
        let handle = match (self.get("authid"), &self.bearer) {
            ("", Some(Handle(bearer))) => bearer,
            (authid, _) => authid,
        };
        // Handles of other forms have no place in URLs, so they do not count here.
        if Uuid::try_parse(handle).is_err() {
            return Err(Code::Unauthenticated.into());
        }
        identify(app, Handle(handle.to_owned())).await
    }
}

fn has_fields(method: &Method, body: &Body) -> bool {
    !method.is_safe() && !http_body::Body::is_end_stream(body)
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    async fn parameters(method: Method, uri: &str, body: &'static str) -> Result<Parameters> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body));
        Parameters::of(request.unwrap()).await
    }

    #[tokio::test]
    async fn the_query_goes_before_the_body() {
        let parameters =
            parameters(Method::POST, "/v1/folder?op=a+b&x=%2B", "op=c&path=d%20e").await.unwrap();
        assert_eq!(parameters.get("op"), "a b");
        assert_eq!(parameters.get("x"), "+");
        assert_eq!(parameters.get("path"), "d e");
        assert_eq!(parameters.get("none"), "");
    }

    #[tokio::test]
    async fn the_body_of_a_get_does_not_count() {
        assert_eq!(parameters(Method::GET, "/v1/folder", "op=c").await.unwrap().get("op"), "");
    }
}
