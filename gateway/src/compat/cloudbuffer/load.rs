//! `/file/load`.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use holdall_proto::metadata::v1::{FolderPolicy, LinkForm, LinkOptions};
use http::{HeaderMap, StatusCode, Uri};

use super::{Result, failure, form, left, member, stay, time_to_live};
use crate::App;
use crate::error::{Code, Error};
use crate::ops::Caller;
use crate::ops::content::{self, Offer, Upload, Uploaded, keeping_both, to_child};
use crate::transfer::media_type;
use crate::transfer::multipart::{Form, Part, boundary};
use crate::web::{Nav, html, html_with_form, origin, qr, size};

/// Where the files are in the tree of their account.
const FOLDER: &str = "Buffer";

const PATH: &str = "/file/load";

#[derive(Template)]
#[template(path = "load.html")]
struct Load {
    nav: Nav,
    stay: String,
    /// What was wrong; empty at first.
    problem: &'static str,
}

#[derive(Template)]
#[template(path = "loaded.html")]
struct Loaded<'a> {
    nav: Nav,
    id: &'a str,
    name: &'a str,
    size: String,
    left: String,
    /// What leads to the file.
    token: &'a str,
    /// Where the file is, for other devices.
    url: &'a str,
    /// `url` as a QR code, as SVG.
    qr: String,
}

/// The form.
pub async fn page(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result {
    let caller = member(&app, &uri, &headers).await?;
    Ok(again(&app, &caller, StatusCode::OK, ""))
}

fn again(app: &App, caller: &Caller, status: StatusCode, problem: &'static str) -> Response {
    html_with_form(status, &Load { nav: Nav::of(Some(caller), PATH), stay: stay(app), problem })
}

/// Stores a file and answers with a page that says where it is.
pub async fn submit(State(app): State<App>, request: Request) -> Result {
    let (parts, body) = request.into_parts();
    origin::check(&app, &parts.uri, &parts.headers)?;
    let caller = member(&app, &parts.uri, &parts.headers).await?;
    let mut is_page = false;
    let stored = match boundary(&parts.headers) {
        Ok(Some(boundary)) => store(&app, &caller, Form::of(boundary, body), &mut is_page).await,
        _ => Err(Code::MalformedForm.into()),
    };
    match stored {
        Ok(uploaded) => loaded(&app, &caller, &parts.uri, &parts.headers, &uploaded),
        Err(error) => Ok(refuse(&app, &caller, &error, is_page)),
    }
}

/// Why nothing was stored: for programs the name of the bad field, for people a sentence.
fn refuse(app: &App, caller: &Caller, error: &Error, is_page: bool) -> Response {
    let (status, problem) = match error.code {
        Code::InvalidField => (StatusCode::BAD_REQUEST, "Choose a file that is not empty."),
        Code::InvalidName | Code::InvalidPath => {
            (StatusCode::BAD_REQUEST, "The name of the file cannot be used.")
        }
        Code::MalformedForm | Code::TruncatedBody | Code::InvalidEncoding => {
            (StatusCode::BAD_REQUEST, "The file did not arrive whole.")
        }
        Code::QuotaExceeded | Code::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "There is no room for this file.")
        }
        _ => return failure(error),
    };
    if is_page || status != StatusCode::BAD_REQUEST {
        return again(app, caller, status, problem);
    }
    form::bad("file")
}

/// Stores the file in a form. `is_page` tells whether our own page sent it, which that says before the file.
///
/// # Errors
/// [`Code::InvalidField`] when there is none, or it is empty.
async fn store(app: &App, caller: &Caller, mut form: Form, is_page: &mut bool) -> Result<Uploaded, Error> {
    let part = loop {
        let part = form.next().await?.ok_or(Code::InvalidField)?;
        if part.name() == "file" && part.file_name().is_some_and(|name| !name.is_empty()) {
            break part;
        }
        if part.name() == form::PAGE && part.file_name().is_none() {
            *is_page = part.text().await? == "1";
        }
    };
    let name = part.file_name().unwrap_or_default().to_owned();
    let media_type = media_type_of(&part, &name);
    let (body, _) = part.content(form);
    let body = Offer::of(not_empty(body).await?);
    let policy = FolderPolicy {
        time_to_live: Some(time_to_live(app)),
        max_files: app.compat.cloudbuffer.max_files,
        max_versions: 1,
        skip_trash: true,
    };
    let link = LinkOptions {
        form: LinkForm::Token.into(),
        expires_in: Some(time_to_live(app)),
        // Whoever gets the file need not know that its name was taken.
        file_name: name.clone(),
        ..LinkOptions::default()
    };
    let work = |folder| {
        let upload = Upload {
            target: keeping_both(to_child(folder, name.clone())),
            size: None,
            media_type: media_type.clone(),
            precondition: None,
            idempotency_key: String::new(),
            link: Some(link.clone()),
        };
        content::upload(&app.upstreams, caller, upload, body.body())
    };
    app.folders.with(&app.upstreams, caller, FOLDER, Some(policy), work).await
}

/// What the part says that it is, or what its name says.
pub fn media_type_of(part: &Part, name: &str) -> String {
    let claimed = part.media_type().and_then(|claimed| http::HeaderValue::from_str(claimed).ok());
    let claimed =
        media_type::claimed(claimed.as_ref()).filter(|claimed| *claimed != "application/octet-stream");
    claimed.unwrap_or_else(|| media_type::guess(name)).to_owned()
}

/// The same pieces, once there is a first.
///
/// # Errors
/// [`Code::InvalidField`] when there is none.
async fn not_empty<S>(body: S) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<S>, Error>
where
    S: Stream<Item = Result<Bytes, Error>> + Send,
{
    let mut body = Box::pin(body);
    let first = body.next().await.ok_or(Code::InvalidField)??;
    Ok(stream::once(std::future::ready(Ok(first))).chain(body))
}

fn loaded(app: &App, caller: &Caller, uri: &Uri, headers: &HeaderMap, uploaded: &Uploaded) -> Result {
    let link = uploaded.link.as_ref().ok_or(Code::BadGateway)?;
    let url = format!("{}/file/get/?token={}", app.base_url(uri, headers)?, link.slug);
    let page = Loaded {
        nav: Nav::of(Some(caller), PATH),
        id: &uploaded.node.node_id,
        name: &link.file_name,
        size: size(uploaded.node.version.as_ref().map_or(0, |version| version.size)),
        left: left(app, link.expires_at.as_ref()),
        token: &link.slug,
        qr: qr::svg(&url),
        url: &url,
    };
    Ok(html(StatusCode::OK, &page))
}
