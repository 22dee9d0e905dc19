//! Files: giving them, deleting them, listing those of an account.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use holdall_proto::metadata::v1::{Link, LinkForm, OpenLinkResponse};
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::Serialize;

use super::answer::{Failure, SUCCESS, Said, files_at, json, not_allowed};
use super::limits::{self, Endpoint};
use super::query::Query;
use super::{facts, member};
use crate::App;
use crate::error::{Code, Error, Result};
use crate::identity::ClientAddress;
use crate::ops::content::Opened;
use crate::ops::{Page, links};
use crate::transfer::disposition::{Disposition, content_disposition};
use crate::transfer::download::{self, Asked};
use crate::web::{self, Message, Nav};

const NOT_FOUND: Failure = Failure::Said(StatusCode::NOT_FOUND, "File not found");
const WRONG_KEY: Failure = Failure::Said(StatusCode::BAD_REQUEST, "Invalid unique key");

/// Links of a page; the most that there can be.
const PAGE: i32 = 1000;

/// `GET /file/{id}`, `GET /f/{id}`: the file.
pub async fn open(
    State(app): State<App>,
    client: ClientAddress,
    id: Result<Path<String>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let response = async {
        limits::admit_client(&app, Endpoint::File, &client)?;
        let Path(slug) = id.map_err(|_| Code::NotFound)?;
        send(&app, slug, &method, &headers).await.map_err(|error| Failure::Other(error.of_read()))
    };
    match response.await {
        Ok(response) => response,
        Err(Failure::Other(error)) if error.code == Code::NotFound => not_found(&headers),
        Err(failure) => failure.into_response(),
    }
}

async fn send(app: &App, slug: String, method: &Method, headers: &HeaderMap) -> Result<Response> {
    let counts = counts(method, headers);
    let opened = links::open(&app.upstreams, slug, LinkForm::Code, counts).await?;
    let OpenLinkResponse { name, version, read_grant, .. } = opened;
    let version = version.ok_or(Code::BadGateway)?;
    let shown = facts::media_type(&name).map(|media_type| (media_type, &*name));
    let disposition =
        shown.map(|(media_type, name)| (media_type, content_disposition(Disposition::Inline, name)));
    let opened = Opened { name, version, grant: read_grant };
    let asked = Asked { method, headers, attachment: true };
    let mut response = download::respond(&app.upstreams, opened, asked).await?;
    let is_content = response.status().is_success();
    let headers = response.headers_mut();
    if is_content {
        match disposition {
            Some((media_type, disposition)) => {
                headers.insert(CONTENT_TYPE, media_type);
                headers.insert(CONTENT_DISPOSITION, disposition);
            }
            None => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            }
        }
    }
    // Other sites show these files in their pages, as they always could.
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(web::ROBOTS.0, web::ROBOTS.1);
    Ok(response)
}

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Whether a request counts as a use: somebody looks at the file itself, and not at a page that shows it.
fn counts(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET
        && headers.get("sec-fetch-dest").is_none_or(|destination| destination.as_bytes() == b"document")
}

/// For browsers a page, for all others what this API says.
fn not_found(headers: &HeaderMap) -> Response {
    if prefers_page(headers) {
        let page = Message { nav: Nav::PLAIN, title: "File not found", text: "The file is a lie." };
        return web::html(StatusCode::NOT_FOUND, &page);
    }
    NOT_FOUND.into_response()
}

/// Whether `Accept` (RFC 9110, §12.5.1) names HTML, and JSON less or not at all.
fn prefers_page(headers: &HeaderMap) -> bool {
    let mut html = None;
    let mut json = None;
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = quality.map_or(Some(1.0), |quality| quality.parse::<f32>().ok()).unwrap_or(0.0);
        if name.eq_ignore_ascii_case("text/html") {
            html = Some(quality);
        } else if name.eq_ignore_ascii_case("application/json") {
            json = Some(quality);
        }
    }
    html.is_some_and(|html| html > 0.0 && html > json.unwrap_or(0.0))
}

/// `GET /api/delete/{id}?key=…`, and the same with `POST` and `DELETE`: deletes a file.
pub async fn delete(
    State(app): State<App>,
    client: ClientAddress,
    id: Result<Path<String>, PathRejection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    // What only looks must not change anything.
    if method == Method::HEAD {
        return Ok(not_allowed("GET, POST, DELETE"));
    }
    if is_prefetch(&headers) {
        return Err(Code::Forbidden.into());
    }
    limits::admit_client(&app, Endpoint::Delete, &client)?;
    let Path(slug) = id.map_err(|_| NOT_FOUND)?;
    let key = Query::of(&uri).get("key").unwrap_or_default().to_owned();
    links::delete_file(&app.upstreams, slug, LinkForm::Code, key).await.map_err(|error| {
        match error.code {
            Code::NotFound => NOT_FOUND,
            Code::Forbidden => WRONG_KEY,
            _ => Failure::Other(error),
        }
    })?;
    Ok(Said::success("deleted"))
}

/// Whether a browser asks because the user might follow a link, and not because they did.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"].iter().any(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.to_ascii_lowercase().contains("prefetch"))
    })
}

#[derive(Serialize)]
struct Files<'a> {
    status: &'static str,
    message: &'static str,
    username: &'a str,
    data: Vec<File>,
}

/// A file of an account.
#[derive(Serialize)]
struct File {
    file_url: String,
    file_url_full: String,
    key: String,
    ext: String,
    user_filename: String,
    creation_date: String,
    synced: bool,
    size: String,
    /// Clients know it by this name.
    craeted_at: f64,
}

impl File {
    /// The file that a link leads to; `None` when it is not there any more.
    fn of(files: &str, link: Link) -> Option<Self> {
        let node = link.node.as_ref()?;
        let name = if link.file_name.is_empty() { &node.name } else { &link.file_name };
        Some(Self {
            file_url_full: facts::url(files, &link.slug),
            ext: facts::extension(name).unwrap_or_default(),
            user_filename: facts::told(name),
            creation_date: link.created_at.as_ref().map(facts::day).unwrap_or_default(),
            synced: true,
            size: facts::size_of(node.version.as_ref()),
            craeted_at: facts::created_at(&link),
            file_url: link.slug,
            key: link.delete_key,
        })
    }
}

/// `GET /api/get_files`: the files of the account, the oldest first.
pub async fn list(
    State(app): State<App>,
    client: ClientAddress,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    limits::admit_client(&app, Endpoint::List, &client)?;
    let caller = member::identify(&app, &headers).await?;
    limits::admit_account(&app, Endpoint::List, caller.account().number)?;
    let files = files_at(&app, &uri, &headers)?;
    let mut data = Vec::new();
    let mut page = Page { size: PAGE, token: String::new() };
    loop {
        let listed = links::list_with_files(&app.upstreams, &caller, LinkForm::Code, page).await;
        let listed = listed.map_err(Error::of_read)?;
        data.extend(listed.links.into_iter().filter_map(|link| File::of(&files, link)));
        if listed.next_page_token.is_empty() {
            break;
        }
        page = Page { size: PAGE, token: listed.next_page_token };
    }
    data.reverse();
    let username = &caller.account().username;
    let body = Files { status: SUCCESS, message: "files got successfully", username, data };
    Ok(json(StatusCode::OK, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn browsers_get_pages_and_programs_do_not() {
        for accept in [
            "text/html",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json;q=0.5, TEXT/HTML ; q=0.6",
        ] {
            assert!(prefers_page(&with("accept", accept)), "{accept}");
        }
        for accept in [
            "*/*",
            "application/json",
            "application/json, text/html;q=0.9",
            "text/html;q=0",
            "text/html;q=x",
            "",
        ] {
            assert!(!prefers_page(&with("accept", accept)), "{accept}");
        }
        assert!(!prefers_page(&HeaderMap::new()));
    }

    #[test]
    fn only_looking_at_the_file_itself_counts() {
        assert!(counts(&Method::GET, &HeaderMap::new()));
        assert!(counts(&Method::GET, &with("sec-fetch-dest", "document")));
        assert!(!counts(&Method::GET, &with("sec-fetch-dest", "image")));
        assert!(!counts(&Method::HEAD, &HeaderMap::new()));
    }

    #[test]
    fn browsers_that_look_ahead_are_noticed() {
        assert!(is_prefetch(&with("sec-purpose", "prefetch;prerender")));
        assert!(is_prefetch(&with("purpose", "Prefetch")));
        assert!(!is_prefetch(&with("sec-purpose", "")));
        assert!(!is_prefetch(&HeaderMap::new()));
    }
}
