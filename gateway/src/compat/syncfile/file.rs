//! `file`: uploads, and links for downloads.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use holdall_proto::metadata::v1::precondition::Condition;
use holdall_proto::metadata::v1::{CreateLinkRequest, LinkForm, LinkOptions, Precondition, UploadTarget};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use prost_types::Duration;

use super::answer::{
    Answer, FILE_EXISTS, FILE_IN_RECORDS, FORM_FAILED, INCORRECT, LINK, NO_FILE, Outcome, RAW_FAILED,
    Refusal, UNSUPPORTED_OP, UPLOADED_FORM, UPLOADED_RAW,
};
use super::boundary;
use super::parameters::Parameters;
use super::path::{NodePath, Place, ends_in_separator};
use crate::App;
use crate::error::{self, Code, Error};
use crate::ops::content::{self, Upload};
use crate::ops::{Caller, links, nodes};
use crate::transfer::fields::is_of_type;
use crate::transfer::media_type;
use crate::transfer::multipart::{self, Form};
use crate::transfer::upload::{self, Pieces};

/// `file`: the operation stands in `op`. The body is content, so every parameter stands in the query.
pub async fn call(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let parameters = Parameters::of_query(&parts.uri, &parts.headers);
    let caller = parameters.caller(&app).await?;
    let filepath = parameters.get("filepath");
    match (&parts.method, parameters.get("op")) {
        (&Method::POST, "upload") if !ends_in_separator(filepath) => {
            upload(&app, &caller, filepath, &parts.headers, body).await
        }
        (&Method::POST, op) if op != "upload" => Err(UNSUPPORTED_OP.into()),
        (&Method::GET | &Method::HEAD, "download") if !ends_in_separator(filepath) => {
            let base = app.base_url(&parts.uri, &parts.headers)?;
            link(&app, &caller, filepath, &base).await
        }
        _ => Err(INCORRECT.into()),
    }
}

/// Stores a new file: the first file of a form, or the body as it is. What is there already stays.
async fn upload(
    app: &App,
    caller: &Caller,
    filepath: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let is_form = is_form(headers);
    let (uploaded, failed) = if is_form { (UPLOADED_FORM, FORM_FAILED) } else { (UPLOADED_RAW, RAW_FAILED) };
    let path = NodePath::parse(filepath).map_err(|error| not_stored(&error, failed))?;
    let stored = async {
        upload::check(headers)?;
        let target = target(app, caller, &path).await?;
        if is_form {
            let (claimed, content) = first_file(headers, body).await?;
            let claimed = media_type::claimed_text(claimed.as_deref());
            store(app, caller, target, path.name(), claimed, None, content).await
        } else {
            let claimed = media_type::claimed(headers.get(CONTENT_TYPE));
            let size = upload::size(headers)?;
            store(app, caller, target, path.name(), claimed, size, Pieces::of(body)).await
        }
    };
    match stored.await {
        Ok(()) => Ok(uploaded.into_response()),
        Err(Error { code: Code::PreconditionFailed | Code::NotAFile | Code::NameConflict, .. }) => {
            Err(in_the_way(app, caller, &path).await.into())
        }
        Err(error) => Err(not_stored(&error, failed)),
    }
}

/// Where the file goes; its folder must be there.
async fn target(app: &App, caller: &Caller, path: &NodePath) -> error::Result<UploadTarget> {
    match path.parent() {
        Place::Root => Ok(content::to_path(path.name().to_owned())),
        parent @ Place::Below(_) => {
            let parent = nodes::get(&app.upstreams, caller, parent.node()).await?;
            Ok(content::to_child(parent.node_id, path.name().to_owned()))
        }
    }
}

async fn store<S>(
    app: &App,
    caller: &Caller,
    target: UploadTarget,
    name: &str,
    claimed: Option<&str>,
    size: Option<u64>,
    content: S,
) -> error::Result<()>
where
    S: Stream<Item = error::Result<Bytes>> + Send + 'static,
{
    // Clients that do not know better call everything octets.
    let claimed = claimed.filter(|claimed| !claimed.eq_ignore_ascii_case("application/octet-stream"));
    let upload = Upload {
        target,
        size,
        media_type: claimed.unwrap_or_else(|| media_type::guess(name)).to_owned(),
        precondition: Some(Precondition { condition: Some(Condition::Absent(true)) }),
        idempotency_key: String::new(),
        link: None,
    };
    content::upload(&app.upstreams, caller, upload, content).await.map(drop)
}

/// Whether the body is to be read as a form, whatever else the header says.
fn is_form(headers: &HeaderMap) -> bool {
    is_of_type(headers, "multipart/form-data")
}

/// The type and the content of the first file of a form.
async fn first_file(
    headers: &HeaderMap,
    body: Body,
) -> error::Result<(Option<String>, impl Stream<Item = error::Result<Bytes>> + Send + use<>)> {
    let announced = multipart::boundary(headers).ok().flatten().filter(|boundary| !boundary.is_empty());
    let mut form = match announced {
        Some(boundary) => Form::of(boundary, body),
        None => {
            let (boundary, body) = boundary::find(body).await?;
            Form::of_stream(boundary, body)
        }
    };
    while let Some(part) = form.next().await? {
        if part.file_name().is_some() {
            let claimed = part.media_type().map(str::to_owned);
            return Ok((claimed, part.content(form).0));
        }
    }
    Err(Code::MalformedForm.into())
}

/// What a failed upload answers: `failed`, with the reason where it is not the path.
fn not_stored(error: &Error, failed: Outcome) -> Refusal {
    match error.code {
        Code::QuotaExceeded
        | Code::StorageFull
        | Code::TooLarge
        | Code::TruncatedBody
        | Code::MalformedForm
        | Code::Timeout
        | Code::UnsupportedMediaType
        | Code::InvalidHeader
        | Code::UploadExpired => Answer::from(failed).because(error.entry().title).into(),
        _ => Refusal::of(error.clone(), failed),
    }
}

/// What there is already under the path: something whole, or a file whose content is lost.
async fn in_the_way(app: &App, caller: &Caller, path: &NodePath) -> Outcome {
    let Ok(opened) = content::open(&app.upstreams, caller, path.node(), String::new()).await else {
        return FILE_EXISTS;
    };
    if opened.version.size == 0 {
        return FILE_EXISTS;
    }
    let read = async {
        content::read(&app.upstreams, opened.grant, 0, 1).await?.message().await.map_err(Error::from)
    };
    match read.await {
        Err(Error { code: Code::NotFound | Code::Corrupt, .. }) => FILE_IN_RECORDS,
        _ => FILE_EXISTS,
    }
}

/// Makes a short link to a file, or gives one again that is still good for long enough. `base` is how this server is
/// reached.
async fn link(app: &App, caller: &Caller, filepath: &str, base: &str) -> Result<Response, Refusal> {
    let made = async {
        let file = nodes::get(&app.upstreams, caller, NodePath::parse(filepath)?.node()).await?;
        let options = LinkOptions {
            form: LinkForm::Uuid.into(),
            expires_in: Some(Duration { seconds: app.compat.syncfile.link_seconds.into(), nanos: 0 }),
            ..LinkOptions::default()
        };
        let request = CreateLinkRequest {
            node_id: file.node_id,
            options: Some(options),
            reuse: true,
            ..CreateLinkRequest::default()
        };
        links::create(&app.upstreams, caller, request).await
    };
    let link = made.await.map_err(|error| Refusal::of(error, NO_FILE))?;
    // The manual has it without a scheme, which clients put before it.
    let host = base.split_once("://").map_or(base, |(_, host)| host);
    Ok(LINK.msg(format!("{host}/v1/f?id={}", link.slug)).into_response())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[test]
    fn forms_are_told_by_their_type_alone() {
        for form in [
            "multipart/form-data",
            "Multipart/Form-Data; boundary=x",
            "multipart/form-data ;boundary",
            "multipart/form-data; boundary=a b",
        ] {
            assert!(is_form(&headers(form)), "{form}");
        }
        for raw in ["text/plain", "application/x-www-form-urlencoded", "", "multipart/mixed; boundary=x"] {
            assert!(!is_form(&headers(raw)), "{raw}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn the_first_file_is_found_with_and_without_a_boundary() {
        const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"xxx\"; filename=\"f.png\"\r\nContent-Type: image/png\r\n\r\ncontent\r\n--b--\r\n";
        for announced in
            ["multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary="]
        {
            let (claimed, content) = first_file(&headers(announced), Body::from(FORM)).await.unwrap();
            assert_eq!(claimed.as_deref(), Some("image/png"));
            let pieces: Vec<_> = futures::StreamExt::collect(content).await;
            let content: Vec<Bytes> = pieces.into_iter().map(Result::unwrap).collect();
            assert_eq!(content.concat(), b"content");
        }
        let none = "--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n1\r\n--b--\r\n";
        let error = first_file(&headers("multipart/form-data; boundary=b"), Body::from(none)).await.err();
        assert_eq!(error.unwrap().code, Code::MalformedForm);
    }
}
