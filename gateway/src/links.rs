//! What the public sees of a link: its page, its download, its QR code.
//!
//! A slug is all that anybody needs, so it is neither logged nor passed on: pages tell browsers to send no referrer and
//! search engines to look away.

mod page;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use holdall_proto::metadata::v1::LinkForm;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use crate::App;
use crate::error::{Code, Error};
use crate::ops::content::Opened;
use crate::ops::links;
use crate::transfer::download::{self, Asked};
use crate::web::{self, Failure, Nav, PRIVATE, ROBOTS, html, qr};

/// `/s/{slug}`: what the link leads to.
pub async fn page(
    State(app): State<App>,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let slug = usable(slug)?;
    let url = format!("{}/s/{slug}", app.base_url(&uri, &headers)?);
    let opened = links::open(&app.upstreams, slug.clone(), LinkForm::Short, false).await?;
    let size = opened.version.as_ref().map_or(0, |version| version.size);
    let page = page::Link {
        nav: Nav::PLAIN,
        name: &opened.name,
        size: web::size(size),
        expires: opened.expires_at.as_ref().map(web::date),
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
    let opened = links::open(&app.upstreams, usable(slug)?, LinkForm::Short, method != Method::HEAD).await?;
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
    links::open(&app.upstreams, slug, LinkForm::Short, false).await?;
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
}
