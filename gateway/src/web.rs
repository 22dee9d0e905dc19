//! What pages have in common: how they are rendered, what they say when something fails, the files that they use.
//!
//! Every page works as it comes from the server; the scripts under `/static` only make some of them more pleasant. Pages
//! hold no script and no style of their own, so they go out with a policy that allows only ours; they tell browsers to
//! send no referrer and search engines to look away.

mod assets;
pub mod cookie;
pub mod device;
mod landing;
mod nav;
pub mod next;
pub mod origin;
pub mod qr;
mod text;

use askama::Template;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::error::Error;

pub use assets::asset;
pub use landing::landing;
pub use nav::Nav;
pub use text::{date, size, span};

/// A page with a sentence.
#[derive(Template)]
#[template(path = "message.html")]
pub struct Message {
    /// The bar on top.
    pub nav: Nav,
    /// A few words.
    pub title: &'static str,
    /// A sentence.
    pub text: &'static str,
}

/// A failed request for a page.
pub struct Failure(Error);

impl Failure {
    /// Of a request that changes something, and may have done so.
    pub fn of_write(error: Error) -> Self {
        Self(error)
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into().of_read())
    }
}

/// Unknown, expired and deleted links look alike; what else fails says only that, and whether to come back.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let entry = self.0.entry();
        if entry.status == StatusCode::RANGE_NOT_SATISFIABLE
            || entry.status == StatusCode::PRECONDITION_FAILED
        {
            // For programs; the header says it all.
            let mut response = entry.status.into_response();
            let size = self.0.size.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok());
            if let Some(range) = size {
                response.headers_mut().insert(http::header::CONTENT_RANGE, range);
            }
            return response;
        }
        let mut response = if entry.status == StatusCode::NOT_FOUND {
            not_found()
        } else {
            let (title, text) =
                (entry.title, if entry.retryable { "Please try again in a moment." } else { entry.detail });
            html(entry.status, &Message { nav: Nav::PLAIN, title, text })
        };
        if let Some(delay) = self.0.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        response
    }
}

/// The page for whatever is not there.
pub fn not_found() -> Response {
    let text = "The link is mistyped, or what it led to is no longer shared.";
    html(StatusCode::NOT_FOUND, &Message { nav: Nav::PLAIN, title: "Nothing here", text })
}

/// Keeps search engines away.
pub const ROBOTS: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));

/// What every page carries.
pub const PRIVATE: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    ROBOTS,
];

/// A page as an answer.
pub fn html(status: StatusCode, page: &impl Template) -> Response {
    let (status, text) = match page.render() {
        Ok(text) => (status, text),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            (StatusCode::INTERNAL_SERVER_ERROR, String::new())
        }
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().extend(PRIVATE);
    response
}

/// A page with a form as an answer: one that tells our own pages where its requests come from (see [`origin`]).
pub fn html_with_form(status: StatusCode, page: &impl Template) -> Response {
    let mut response = html(status, page);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn failures_of_all_kinds_are_pages() {
        for &code in Code::ALL {
            let response = Failure(code.into()).into_response();
            assert_eq!(response.status(), code.entry().status);
        }
        let response = Failure(Error { size: Some(5), ..Code::RangeNotSatisfiable.into() }).into_response();
        assert_eq!(response.headers()[http::header::CONTENT_RANGE], "bytes */5");
    }
}
