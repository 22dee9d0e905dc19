//! `/buffer`.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use holdall_proto::metadata::v1::{self as metadata, EntryKind, Version};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use prost_types::Duration;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, nothing};
use super::extract::{Parameters, Path};
use super::page::{self, PageQuery};
use super::problem::Result;
use super::time::Time;
use crate::App;
use crate::error::{Code, Error};
use crate::ops::buffer::{self, NewEntry};
use crate::ops::content::Opened;
use crate::ops::{Caller, buffer as ops};
use crate::transfer::download::{self, Asked};
use crate::transfer::media_type;
use crate::transfer::upload::{self, Pieces};

/// Tells text from files.
const KIND: HeaderName = HeaderName::from_static("x-holdall-kind");
const ENTRY: HeaderName = HeaderName::from_static("x-holdall-entry");

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BufferEntryKind)]
pub enum Kind {
    /// Text.
    Text,
    /// A file.
    File,
}

impl Kind {
    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text",
            Self::File => "file",
        })
    }
}

impl From<EntryKind> for Kind {
    fn from(kind: EntryKind) -> Self {
        if kind == EntryKind::File { Self::File } else { Self::Text }
    }
}

/// Text or a file in the buffer.
#[derive(Serialize, ToSchema)]
pub struct BufferEntry<'a> {
    /// UUID.
    entry_id: &'a str,
    /// Text or file.
    #[schema(inline)]
    kind: Kind,
    /// The name of the file; null for text.
    name: Option<&'a str>,
    /// Bytes of content.
    size: u64,
    /// Media type.
    media_type: &'a str,
    /// The device it came from; may be empty.
    device: &'a str,
    /// When it was put in.
    created_at: Time,
    /// From then on it is gone.
    expires_at: Time,
}

impl<'a> From<&'a metadata::BufferEntry> for BufferEntry<'a> {
    fn from(entry: &'a metadata::BufferEntry) -> Self {
        Self {
            entry_id: &entry.entry_id,
            kind: entry.kind().into(),
            name: Some(entry.name.as_str()).filter(|name| !name.is_empty()),
            size: entry.size,
            media_type: &entry.media_type,
            device: &entry.device,
            created_at: Time::from(&entry.created_at),
            expires_at: Time::from(&entry.expires_at),
        }
    }
}

/// What is put in.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PutQuery {
    /// The name of a file. Without it the body is text.
    name: Option<String>,
    /// Seconds that it stays; the server's setting when left out.
    #[param(minimum = 1)]
    expires_in: Option<u32>,
}

/// Puts text or a file into the buffer, for the other devices of the account.
#[utoipa::path(
    put, path = "/buffer", tag = "buffer", operation_id = "put_buffer", params(PutQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "The entry.", body = BufferEntry),
        (status = 400, description = "truncated_body"),
        (status = 408, description = "timeout"),
        (status = 415, description = "unsupported_media_type"),
        (status = 422, description = "invalid_name, invalid_field"),
        (status = 507, description = "quota_exceeded, storage_full"),
    ),
)]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    Parameters(PutQuery { name, expires_in }): Parameters<PutQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result {
    upload::check(&headers)?;
    let claimed = media_type::claimed(headers.get(CONTENT_TYPE)).map(str::to_owned);
    let entry = NewEntry {
        kind: if name.is_some() { EntryKind::File } else { EntryKind::Text },
        media_type: match &name {
            Some(name) => claimed.unwrap_or_else(|| media_type::guess(name).to_owned()),
            None => String::new(),
        },
        name: name.unwrap_or_default(),
        size: upload::size(&headers)?,
        time_to_live: expires_in.map(|seconds| Duration { seconds: i64::from(seconds), nanos: 0 }),
    };
    let entry = buffer::put(&app.upstreams, &caller, entry, Pieces::of(body)).await?;
    Answer::json(StatusCode::CREATED, &BufferEntry::from(&entry))?
        .location(&format!("/buffer/entries/{}", entry.entry_id))?
        .send()
}

/// Reads what was put in last.
#[utoipa::path(
    get, path = "/buffer", tag = "buffer", operation_id = "read_buffer",
    responses(
        (status = 200, description = "The content. `X-Holdall-Kind` tells `text` from `file`.", content_type = "application/octet-stream"),
        (status = 206, description = "The part that `Range` asks for."),
        (status = 304, description = "It is what the client has already."),
        (status = 404, description = "not_found"),
        (status = 416, description = "range_not_satisfiable"),
    ),
)]
pub async fn get(State(app): State<App>, caller: Caller, method: Method, headers: HeaderMap) -> Result {
    read(&app, &caller, String::new(), &method, &headers).await
}

/// Reads an entry.
#[utoipa::path(
    get, path = "/buffer/entries/{id}", tag = "buffer", operation_id = "read_buffer_entry",
    params(("id" = String, Path, description = "The entry.")),
    responses(
        (status = 200, description = "The content.", content_type = "application/octet-stream"),
        (status = 206, description = "The part that `Range` asks for."),
        (status = 304, description = "It is what the client has already."),
        (status = 404, description = "not_found"),
        (status = 416, description = "range_not_satisfiable"),
    ),
)]
pub async fn entry(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result {
    if id.is_empty() {
        return Err(Code::NotFound.into());
    }
    read(&app, &caller, id, &method, &headers).await
}

async fn read(
    app: &App,
    caller: &Caller,
    id: String,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response> {
    let (entry, grant) = buffer::get(&app.upstreams, caller, id).await?;
    let kind = Kind::from(entry.kind());
    let id = HeaderValue::try_from(&entry.entry_id).map_err(|_| Error::new(Code::BadGateway))?;
    let version = Version {
        size: entry.size,
        content_etag: hex::encode(&entry.digest),
        media_type: entry.media_type,
        created_at: entry.created_at,
        ..Version::default()
    };
    let name = if entry.name.is_empty() { "buffer.txt".to_owned() } else { entry.name };
    let opened = Opened { name, version, grant };
    let asked = Asked { method, headers, attachment: kind == Kind::File };
    let mut response = download::respond(&app.upstreams, opened, asked).await?;
    response.headers_mut().insert(KIND, kind.name());
    response.headers_mut().insert(ENTRY, id);
    Ok(response)
}

/// A page of the buffer's history.
#[derive(Serialize, ToSchema)]
pub struct BufferHistory<'a> {
    /// The latest first.
    items: Vec<BufferEntry<'a>>,
    /// Null on the last page.
    next_cursor: Option<&'a str>,
}

/// Lists what is in the buffer, the latest first.
#[utoipa::path(
    get, path = "/buffer/history", tag = "buffer", operation_id = "list_buffer", params(PageQuery),
    responses(
        (status = 200, description = "A page.", body = BufferHistory),
        (status = 400, description = "invalid_cursor"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn history(
    State(app): State<App>,
    caller: Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Result {
    let page = ops::list(&app.upstreams, &caller, query.page()?).await?;
    let items = page.entries.iter().map(BufferEntry::from).collect();
    Answer::json(StatusCode::OK, &BufferHistory { items, next_cursor: page::next(&page.next_page_token) })?
        .send()
}

/// Empties the buffer.
#[utoipa::path(
    delete, path = "/buffer", tag = "buffer", operation_id = "clear_buffer",
    responses((status = 204, description = "It is empty.")),
)]
pub async fn clear(State(app): State<App>, caller: Caller) -> Result {
    buffer::clear(&app.upstreams, &caller).await?;
    nothing()
}
