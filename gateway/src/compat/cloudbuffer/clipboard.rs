//! `/account/buffer`: the buffer for people.

use askama::Template;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures::stream;
use holdall_proto::metadata::v1::{BufferEntry, EntryKind};
use http::{HeaderMap, StatusCode, Uri};

use super::buffer::store;
use super::load::media_type_of;
use super::{Result, failure, form, left, member, redirect, stay};
use crate::App;
use crate::error::{Code, Error};
use crate::ops::{Caller, buffer, content};
use crate::transfer::fields::Fields;
use crate::transfer::multipart::{Form, boundary};
use crate::web::{Nav, date, html_with_form, origin, size};

const PATH: &str = "/account/buffer";

/// Bytes of text that the page shows; there is a download for more.
const SHOWN: u64 = 64 << 10;

#[derive(Template)]
#[template(path = "buffer.html")]
struct Buffer {
    nav: Nav,
    stay: String,
    entry: Option<Entry>,
    /// What was wrong; empty at first.
    problem: &'static str,
}

struct Entry {
    /// `None` for a file.
    text: Option<Text>,
    /// Of a file.
    name: String,
    size: String,
    /// Where it came from; may be empty.
    device: String,
    created: String,
    left: String,
}

struct Text {
    shown: String,
    is_whole: bool,
}

/// What is in the buffer, and forms to put something else in.
pub async fn page(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result {
    let caller = member(&app, &uri, &headers).await?;
    show(&app, &caller, StatusCode::OK, "").await
}

async fn show(app: &App, caller: &Caller, status: StatusCode, problem: &'static str) -> Result {
    let entry = match buffer::get(&app.upstreams, caller, String::new()).await {
        Ok((entry, grant)) => Some(seen(app, entry, grant).await.map_err(Error::of_read)?),
        Err(error) if error.code == Code::NotFound => None,
        Err(error) => return Err(error.of_read().into()),
    };
    let page = Buffer { nav: Nav::of(Some(caller), PATH), stay: stay(app), entry, problem };
    Ok(html_with_form(status, &page))
}

async fn seen(app: &App, entry: BufferEntry, grant: Bytes) -> Result<Entry, Error> {
    let text = match entry.kind() {
        EntryKind::File => None,
        EntryKind::Text | EntryKind::Unspecified => Some(Text {
            shown: read(app, grant, entry.size.min(SHOWN)).await?,
            is_whole: entry.size <= SHOWN,
        }),
    };
    Ok(Entry {
        text,
        name: entry.name,
        size: size(entry.size),
        device: entry.device,
        created: entry.created_at.as_ref().map(date).unwrap_or_default(),
        left: left(app, entry.expires_at.as_ref()),
    })
}

/// The first bytes as text. What is not UTF-8 is shown as such.
async fn read(app: &App, grant: Bytes, len: u64) -> Result<String, Error> {
    let mut bytes = Vec::new();
    if len > 0 {
        let mut pieces = content::read(&app.upstreams, grant, 0, len).await?;
        while let Some(piece) = pieces.message().await? {
            bytes.extend_from_slice(&piece.data);
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Puts in what one of the forms sent, or empties the buffer.
pub async fn submit(State(app): State<App>, request: Request) -> Result {
    let (parts, body) = request.into_parts();
    origin::check(&app, &parts.uri, &parts.headers)?;
    let caller = member(&app, &parts.uri, &parts.headers).await?;
    let done = match boundary(&parts.headers) {
        Ok(Some(boundary)) => file(&app, &caller, Form::of(boundary, body)).await,
        _ => other(&app, &caller, &form::read(&parts.headers, body).await?).await,
    };
    match done {
        Ok(()) => Ok(redirect(StatusCode::SEE_OTHER, PATH)),
        Err(error) => refuse(&app, &caller, &error).await,
    }
}

async fn refuse(app: &App, caller: &Caller, error: &Error) -> Result {
    let (status, problem) = match error.code {
        Code::InvalidField => (StatusCode::BAD_REQUEST, "Type some text, or choose a file."),
        Code::InvalidName | Code::InvalidPath => {
            (StatusCode::BAD_REQUEST, "The name of the file cannot be used.")
        }
        Code::MalformedForm | Code::TruncatedBody | Code::InvalidEncoding => {
            (StatusCode::BAD_REQUEST, "The file did not arrive whole.")
        }
        Code::QuotaExceeded | Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "There is no room for this."),
        _ => return Ok(failure(error)),
    };
    show(app, caller, status, problem).await
}

async fn file(app: &App, caller: &Caller, mut form: Form) -> Result<(), Error> {
    let part = loop {
        let part = form.next().await?.ok_or(Code::InvalidField)?;
        if part.file_name().is_some_and(|name| !name.is_empty()) {
            break part;
        }
    };
    let name = part.file_name().unwrap_or_default().to_owned();
    let media_type = media_type_of(&part, &name);
    let (body, _) = part.content(form);
    store(app, caller, EntryKind::File, name, media_type, None, body).await
}

async fn other(app: &App, caller: &Caller, fields: &Fields) -> Result<(), Error> {
    if fields.get("clear").is_some() {
        return buffer::clear(&app.upstreams, caller).await;
    }
    let text = fields.get("text").filter(|text| !text.is_empty()).ok_or(Code::InvalidField)?;
    // Browsers send every line with CR LF (WHATWG HTML, §4.10.22.7).
    let text = Bytes::from(text.replace("\r\n", "\n"));
    let size = Some(text.len() as u64);
    let body = stream::iter([Ok(text)]);
    store(app, caller, EntryKind::Text, String::new(), String::new(), size, body).await
}
