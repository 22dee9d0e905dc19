//! Cross-origin requests, for the APIs that scripts of any origin may call (the Fetch standard, section 3.3).
//!
//! Nothing here depends on a cookie, so every origin is welcome, without credentials. All other paths say nothing, which
//! means no.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

const ANY: HeaderValue = HeaderValue::from_static("*");

/// The answer to a question of a browser's before the request itself; `None` for all other requests.
pub fn preflight(request: &Request) -> Option<Response> {
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    asks.then(|| {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        );
        // `*` does not cover Authorization.
        headers
            .insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, authorization, content-type"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
        response
    })
}

/// Lets scripts of any origin read the answer.
pub fn open(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANY);
}
