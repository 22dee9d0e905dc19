//! `GET /files`: all files, or a page of them.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use holdall_proto::metadata::v1::{Link, LinkForm, ListLinksResponse};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Serialize;

use super::failure::Failure;
use super::store;
use crate::App;
use crate::error::{Code, Error, Result};
use crate::ops::{Page, links};
use crate::transfer::fields::Fields;

/// Files in a page whose size nobody chose.
const USUAL: i32 = 100;
/// The most files in a page.
const MOST: i32 = 1_000;

/// A file as lists show it.
#[derive(Serialize)]
struct File<'a> {
    created_at: String,
    file_id: &'a str,
    file_name: &'a str,
    file_size: u64,
    file_type: &'a str,
    /// When its content was written.
    updated_at: String,
}

impl<'a> File<'a> {
    /// `None` for a file that is gone.
    fn of(link: &'a Link) -> Option<Self> {
        let version = link.node.as_ref()?.version.as_ref()?;
        Some(Self {
            created_at: link.created_at.unwrap_or_default().to_string(),
            file_id: &link.slug,
            file_name: if link.file_name.is_empty() { &link.slug } else { &link.file_name },
            file_size: version.size,
            file_type: &version.media_type,
            updated_at: version.created_at.unwrap_or_default().to_string(),
        })
    }
}

/// Lists the files, the newest first. With `limit` or `cursor`, one page; where the next one starts stands in
/// `X-Next-Cursor` and `Link`. Without, all of them.
pub async fn list(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Failure> {
    store::admit(&app, &headers).await?;
    match asked(&uri)? {
        Some(page) => {
            let size = page.size;
            let read = read(&app, page).await.map_err(Error::of_read)?;
            let mut array = vec![b'['];
            write(&mut array, &read, true)?;
            array.push(b']');
            Ok(answer(Body::from(array), next(size, &read.next_page_token)))
        }
        None => {
            // What fails at once is an answer of its own.
            let first = read(&app, whole(String::new())).await.map_err(Error::of_read)?;
            Ok(answer(Body::from_stream(all(app, first).map_err(Broken)), HeaderMap::new()))
        }
    }
}

/// The page that the query asks for; `None` for everything.
fn asked(uri: &Uri) -> Result<Option<Page>> {
    let query = Fields::urlencoded(uri.query().unwrap_or_default().as_bytes());
    let [limit, cursor] = ["limit", "cursor"].map(|name| query.get(name).filter(|value| !value.is_empty()));
    let size = match limit {
        None => USUAL,
        Some(limit) => limit.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or_else(|| {
            let error = Error::new(Code::InvalidCursor);
            error.detail("limit must be a number from 1 to 1000.")
        })?,
    };
    let token = cursor.unwrap_or_default().to_owned();
    Ok((limit.is_some() || cursor.is_some()).then_some(Page { size, token }))
}

fn whole(token: String) -> Page {
    Page { size: MOST, token }
}

async fn read(app: &App, page: Page) -> Result<ListLinksResponse> {
    // For each page anew: what proves the right to read does not last as long as a slow reader may take.
    let keeper = store::keeper(app).await?;
    links::list_with_files(&app.upstreams, &keeper, LinkForm::Hex, page).await
}

/// The array of all files, a page at a time, so that no more than one is ever in memory.
fn all(app: App, first: ListLinksResponse) -> impl Stream<Item = Result<Bytes>> + Send {
    enum Next {
        Page(ListLinksResponse),
        Token(String),
        End,
    }
    stream::try_unfold((app, Next::Page(first), true), |(app, next, is_first)| async move {
        let mut piece = Vec::new();
        let page = match next {
            Next::Page(page) => {
                piece.push(b'[');
                page
            }
            Next::Token(token) => read(&app, whole(token)).await?,
            Next::End => return Ok(None),
        };
        // There may be no file left on a whole page.
        let is_first = !write(&mut piece, &page, is_first)? && is_first;
        let next = if page.next_page_token.is_empty() {
            piece.push(b']');
            Next::End
        } else {
            Next::Token(page.next_page_token)
        };
        Ok(Some((Bytes::from(piece), (app, next, is_first))))
    })
}

/// Writes the files of a page as elements of an array; tells whether there were any.
fn write(array: &mut Vec<u8>, page: &ListLinksResponse, mut is_first: bool) -> Result<bool> {
    let mut any = false;
    for file in page.links.iter().filter_map(File::of) {
        if !std::mem::take(&mut is_first) {
            array.push(b',');
        }
        serde_json::to_writer(&mut *array, &file).map_err(|_| Code::Internal)?;
        any = true;
    }
    Ok(any)
}

/// Where the next page is; nothing on the last one.
fn next(size: i32, token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if token.is_empty() {
        return headers;
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("limit", &size.to_string())
        .append_pair("cursor", token)
        .finish();
    let link = HeaderValue::try_from(format!("</files?{query}>; rel=\"next\""));
    if let (Ok(cursor), Ok(link)) = (HeaderValue::try_from(token), link) {
        headers.insert(HeaderName::from_static("x-next-cursor"), cursor);
        headers.insert(LINK, link);
    }
    headers
}

fn answer(body: Body, headers: HeaderMap) -> Response {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A list that broke off: the connection does too, so that nobody takes it for complete.
#[derive(Debug, thiserror::Error)]
#[error("a list broke off: {}", .0.entry().name)]
struct Broken(Error);
