//! What the public sees: the page of a link, its download, its QR code, the front page.
//!
//! A slug is all that anybody needs, so it is neither logged nor passed on: pages tell browsers to send no referrer and
//! search engines to look away.

mod assets;
mod page;
mod qr;

use askama::Template;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use crate::App;
use crate::error::{Code, Error};
use crate::ops::content::Opened;
use crate::ops::links;
use crate::transfer::download::{self, Asked};

pub use assets::asset;

/// A failed request for a page.
pub struct Failure(Error);

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
            html(entry.status, &page::Message { title, text })
        };
        if let Some(delay) = self.0.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        response
    }
}

/// The front page.
pub async fn landing() -> Response {
    html(StatusCode::OK, &page::Landing)
}

/// The page for whatever is not there.
pub fn not_found() -> Response {
    let text = "The link is mistyped, or what it led to is no longer shared.";
    html(StatusCode::NOT_FOUND, &page::Message { title: "Nothing here", text })
}

/// `/s/{slug}`: what the link leads to.
pub async fn page(
    State(app): State<App>,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let slug = usable(slug)?;
    let url = format!("{}/s/{slug}", app.base_url(&uri, &headers)?);
    let opened = links::open(&app.upstreams, slug.clone()).await?;
    let size = opened.version.as_ref().map_or(0, |version| version.size);
    let page = page::Link {
        name: &opened.name,
        size: page::size(size),
        expires: opened.expires_at.as_ref().map(page::date),
        download: format!("/s/{slug}/download"),
        qr: qr::svg(&url),
        url: &url,
    };
    Ok(html(StatusCode::OK, &page))
}

/// How a download is to be shown.
#[derive(Debug, Default, Deserialize)]
pub struct DownloadQuery {
    inline: Option<String>,
}

/// `/s/{slug}/download`: the file itself, to be saved; with `?inline=1`, to be shown where that is harmless.
pub async fn download(
    State(app): State<App>,
    slug: Result<Path<String>, PathRejection>,
    query: Result<Query<DownloadQuery>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let opened = links::open(&app.upstreams, usable(slug)?).await?;
    let version = opened.version.ok_or(Code::BadGateway)?;
    let opened = Opened { name: opened.name, version, grant: opened.read_grant };
    let inline = query.ok().and_then(|Query(query)| query.inline).is_some_and(|value| value == "1");
    let asked = Asked { method: &method, headers: &headers, attachment: !inline };
    let mut response = download::respond(&app.upstreams, opened, asked).await?;
    response.headers_mut().insert(ROBOTS.0, ROBOTS.1);
    Ok(response)
}

/// `/s/{slug}/qr.svg`: the QR code of the page's address.
pub async fn qr(
    State(app): State<App>,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let slug = usable(slug)?;
    let url = format!("{}/s/{slug}", app.base_url(&uri, &headers)?);
    links::open(&app.upstreams, slug).await?;
    let mut response = Response::new(Body::from(qr::svg(&url)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    response.headers_mut().extend(PRIVATE);
    Ok(response)
}

/// What could be a slug; metadata knows whether it is one.
fn usable(slug: Result<Path<String>, PathRejection>) -> Result<String, Error> {
    let Path(slug) = slug.map_err(|_| Code::NotFound)?;
    let plausible = (1..=64).contains(&slug.len()) && slug.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plausible { Ok(slug) } else { Err(Code::NotFound.into()) }
}

const ROBOTS: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));

/// What every answer about a link carries.
const PRIVATE: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    ROBOTS,
];

fn html(status: StatusCode, page: &impl Template) -> Response {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_a_slug_is_looked_up() {
        let slug = |text: &str| usable(Ok(Path(text.to_owned()))).ok();
        assert_eq!(slug("4fR9xQ0bZk1T").as_deref(), Some("4fR9xQ0bZk1T"));
        for bad in ["", "a/b", "a.b", "ü", "a b", "a\0", &"a".repeat(65)] {
            assert_eq!(slug(bad), None, "{bad:?}");
        }
    }

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
