//! Successful answers.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::problem::Result;
use crate::error::{Code, Error};
use crate::transfer::download::quoted;

/// An answer on its way.
pub struct Answer(Response);

impl Answer {
    /// JSON. What an API says is for the one who asked and for now.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self> {
        Self::large_json(status, body, 512)
    }

    /// JSON of about so many bytes.
    pub fn large_json(status: StatusCode, body: &impl Serialize, about: usize) -> Result<Self> {
        let mut json = Vec::with_capacity(about);
        serde_json::to_writer(&mut json, body).map_err(|error| {
            tracing::error!(%error, "cannot write JSON");
            Error::new(Code::Internal)
        })?;
        let len = json.len();
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        Ok(Self(response))
    }

    /// With the entity tag of the thing that was asked for.
    pub fn etag(mut self, etag: &str) -> Result<Self> {
        self.0.headers_mut().insert(ETAG, quoted(etag)?);
        Ok(self)
    }

    /// With the place of the thing that was made: a path under [`PREFIX`](super::PREFIX) whose parts need no encoding.
    pub fn location(mut self, path: &str) -> Result<Self> {
        let location =
            HeaderValue::try_from(format!("{}{path}", super::PREFIX)).map_err(|_| Code::Internal)?;
        self.0.headers_mut().insert(LOCATION, location);
        Ok(self)
    }

    /// Done.
    pub fn send(self) -> Result {
        Ok(self.0)
    }
}

/// 204.
pub fn nothing() -> Result {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
