//! The few files that pages use, part of the program.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::not_found;

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [(&str, &str, &str); 5] = [
    ("holdall.css", "text/css; charset=utf-8", include_str!("../../assets/holdall.css")),
    ("bag.svg", "image/svg+xml", include_str!("../../assets/bag.svg")),
    ("copy.js", SCRIPT, include_str!("../../assets/copy.js")),
    ("refresh.js", SCRIPT, include_str!("../../assets/refresh.js")),
    ("upload.js", SCRIPT, include_str!("../../assets/upload.js")),
];

/// `/static/{file}`.
pub async fn asset(Path(file): Path<String>) -> Response {
    let Some((_, content_type, content)) = ASSETS.into_iter().find(|(name, ..)| *name == file) else {
        return not_found();
    };
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}
