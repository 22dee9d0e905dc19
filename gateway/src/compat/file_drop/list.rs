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

/// What part of the list is asked for.
enum Asked {
    /// All of it.
    All,
    /// A page of this size, from a cursor on.
    Page(Page),
    /// So many files after so many others.
    Slice { offset: usize, size: usize },
}

/// Lists the files, the newest first: all of them, or with `limit` and `cursor` a page, or with `limit` and `offset` a slice.
/// Where the next page starts stands in `X-Next-Cursor` and `Link`.
pub async fn list(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Failure> {
    store::admit(&app, &headers).await?;
    match asked(&uri)? {
        Asked::Page(page) => {
            let size = page.size;
            let read = read(&app, page).await.map_err(Error::of_read)?;
            let mut array = vec![b'['];
            write(&mut array, read.links.iter().filter_map(File::of), true)?;
            array.push(b']');
            Ok(answer(Body::from(array), next(size, &read.next_page_token)))
        }
        Asked::Slice { offset, size } => {
            let array = slice(&app, offset, size).await.map_err(Error::of_read)?;
            Ok(answer(Body::from(array), HeaderMap::new()))
        }
        Asked::All => {
            // What fails at once is an answer of its own.
            let first = read(&app, whole(String::new())).await.map_err(Error::of_read)?;
            Ok(answer(Body::from_stream(all(app, first).map_err(Broken)), HeaderMap::new()))
        }
    }
}

/// What the query asks for.
fn asked(uri: &Uri) -> Result<Asked> {
    let query = Fields::urlencoded(uri.query().unwrap_or_default().as_bytes());
    let [limit, offset, cursor] =
        ["limit", "offset", "cursor"].map(|name| query.get(name).filter(|value| !value.is_empty()));
    let refuse = |what: &'static str| Error::new(Code::InvalidCursor).detail(what);
    let size = match limit {
        None => USUAL,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=MOST).contains(limit))
            .ok_or_else(|| refuse("limit must be a number from 1 to 1000."))?,
    };
    Ok(match (offset, cursor) {
        (None, None) if limit.is_none() => Asked::All,
        (None, cursor) => Asked::Page(Page { size, token: cursor.unwrap_or_default().to_owned() }),
        (Some(offset), None) => Asked::Slice {
            offset: offset.parse().map_err(|_| refuse("offset must be a number from 0 on."))?,
            size: usize::try_from(size).unwrap_or_default(),
        },
        (Some(_), Some(_)) => return Err(refuse("offset and cursor do not go together.")),
    })
}

/// The array of `size` files after `offset` others.
async fn slice(app: &App, mut offset: usize, mut size: usize) -> Result<Vec<u8>> {
    let mut array = vec![b'['];
    let mut token = String::new();
    loop {
        let page = read(app, whole(token)).await?;
        let files: Vec<File<'_>> = page.links.iter().filter_map(File::of).collect();
        let after = files.get(offset.min(files.len())..).unwrap_or_default();
        offset = offset.saturating_sub(files.len());
        let is_first = array.len() == 1;
        size -= write(&mut array, after.iter().take(size), is_first)?;
        if size == 0 || page.next_page_token.is_empty() {
            array.push(b']');
            return Ok(array);
        }
        token = page.next_page_token;
    }
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
        let count = write(&mut piece, page.links.iter().filter_map(File::of), is_first)?;
        let is_first = is_first && count == 0;
        let next = if page.next_page_token.is_empty() {
            piece.push(b']');
            Next::End
        } else {
            Next::Token(page.next_page_token)
        };
        Ok(Some((Bytes::from(piece), (app, next, is_first))))
    })
}

/// Writes files as elements of an array; tells how many there were.
fn write<F: Serialize>(
    array: &mut Vec<u8>,
    files: impl IntoIterator<Item = F>,
    mut is_first: bool,
) -> Result<usize> {
    let mut count = 0;
    for file in files {
        if !std::mem::take(&mut is_first) {
            array.push(b',');
        }
        serde_json::to_writer(&mut *array, &file).map_err(|_| Code::Internal)?;
        count += 1;
    }
    Ok(count)
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
