//! Taking a file.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use holdall_proto::metadata::v1::{FolderPolicy, LinkForm, LinkOptions, UploadTarget};
use http::{HeaderMap, StatusCode, Uri};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::answer::{AuthError, Failure, SUCCESS, files_at, json};
use super::limits::{self, Endpoint};
use super::query::Query;
use super::{facts, member};
use crate::App;
use crate::error::{Code, Error, Result};
use crate::identity::ClientAddress;
use crate::limits::Rule;
use crate::ops::Caller;
use crate::ops::content::{self, Upload, keeping_both, to_child, to_path};
use crate::transfer::body::at_most;
use crate::transfer::media_type;
use crate::transfer::multipart::{Form, Part, boundary};
use crate::transfer::upload::check;

/// The folder for the files of an account.
const FOLDER: &str = "Uploads";
/// The account that files of nobody belong to.
const NOBODY: &str = "anonymous-uploads";
/// The name of the field with the file.
const FIELD: &str = "file";
/// The most uses that a file can be limited to.
const MOST_USES: u32 = 10_000;
/// Bytes of an extension at the end of an address, at most.
const LONGEST_EXTENSION: usize = 64;

const NO_FILE: Failure = Failure::Said(StatusCode::BAD_REQUEST, "No file uploaded");
const BAD_EXTENSION: Failure = Failure::Said(StatusCode::BAD_REQUEST, "Bad file extension");
const BAD_USES: Failure = Failure::Said(StatusCode::BAD_REQUEST, "Invalid max_uses parameter");

#[derive(Serialize)]
struct Uploaded<'a> {
    status: &'static str,
    message: &'static str,
    file_url: &'a str,
    file_url_full: &'a str,
    key: &'a str,
    ext: &'a str,
    user_filename: &'a str,
    synced: bool,
    auth_error: Why,
    size: &'a str,
    /// Clients know it by this name.
    craeted_at: f64,
}

/// Why a file belongs to nobody; an empty object when it belongs to an account.
struct Why(Option<AuthError>);

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(error) => error.serialize(serializer),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

/// `POST /api/upload`. A token that is not good does not keep the file out, but from the account.
pub async fn upload(
    State(app): State<App>,
    client: ClientAddress,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let query = Query::of(&uri);
    let include_ext = query.flag("include_ext")?;
    limits::admit_client(&app, Endpoint::Upload, &client)?;
    let member = match member::identify(&app, &headers).await {
        Ok(member) => Ok(member),
        Err(Failure::Auth(error)) => Err(error),
        Err(failure) => return Err(failure),
    };
    if let Ok(member) = &member {
        limits::admit_account(&app, Endpoint::Upload, member.account().number)?;
    }
    let files = files_at(&app, &uri, &headers)?;

    check(&headers)?;
    let (part, form) = file_in(&headers, body).await?;
    let name = part.file_name().filter(|name| !name.is_empty()).ok_or(NO_FILE)?.to_owned();
    let ext = facts::extension(&name).ok_or(BAD_EXTENSION)?;
    let slug_suffix = if include_ext { suffix(&ext)? } else { String::new() };
    let limit = app.compat.file_uploader.max_file_size.get();
    let (content, _) = part.content(form);
    let content = at_most(content, limit);
    let Some(max_downloads) = max_uses(&query) else {
        drain(content).await.map_err(|error| refused(error, limit))?;
        return Err(BAD_USES);
    };

    let link = LinkOptions {
        form: LinkForm::Code.into(),
        slug_suffix,
        file_name: facts::link_name(&name),
        max_downloads,
        deletable: true,
        ..LinkOptions::default()
    };
    let uploaded = match &member {
        Ok(member) => keep(&app, member, &name, link, content).await,
        Err(_) => keep_for_nobody(&app, &client, &name, link, content).await,
    };
    let uploaded = uploaded.map_err(|error| refused(error, limit))?;
    let link = uploaded.link.ok_or(Code::BadGateway)?;
    let body = Uploaded {
        status: SUCCESS,
        message: "File uploaded successfully",
        file_url: &link.slug,
        file_url_full: &facts::url(&files, &link.slug),
        key: &link.delete_key,
        ext: &ext,
        user_filename: &facts::told(&name),
        synced: member.is_ok(),
        auth_error: Why(member.err()),
        size: &facts::size_of(uploaded.node.version.as_ref()),
        craeted_at: facts::created_at(&link),
    };
    Ok(json(StatusCode::OK, &body))
}

/// The first part with the name of the field, which has to be a file, and the form that it is in.
async fn file_in(headers: &HeaderMap, body: Body) -> Result<(Part, Form), Failure> {
    let no_file = |error: Error| match error.code {
        Code::MalformedForm | Code::TruncatedBody => NO_FILE,
        _ => Failure::Other(error),
    };
    let boundary = boundary(headers).map_err(no_file)?.ok_or(NO_FILE)?;
    let mut form = Form::of(boundary, body);
    while let Some(part) = form.next().await.map_err(no_file)? {
        if part.name() == FIELD {
            return Ok((part, form));
        }
    }
    Err(NO_FILE)
}

/// The extension as the end of an address.
fn suffix(ext: &str) -> Result<String, Failure> {
    let fits = ext.len() <= LONGEST_EXTENSION && !ext.chars().any(|c| c.is_control() || c == '/');
    if fits { Ok(ext.to_owned()) } else { Err(BAD_EXTENSION) }
}

/// How often the file can be had, 0 for any number of times; `None` when that makes no sense.
fn max_uses(query: &Query) -> Option<u32> {
    let Some(value) = query.get("max_uses") else { return Some(0) };
    value.trim().parse().ok().filter(|uses| *uses <= MOST_USES)
}

/// Reads content to its end, to learn whether it is too large.
async fn drain(content: impl Stream<Item = Result<Bytes>>) -> Result<()> {
    let mut content = std::pin::pin!(content);
    while let Some(piece) = content.next().await {
        piece?;
    }
    Ok(())
}

/// Why content was not stored.
fn refused(error: Error, limit: u64) -> Failure {
    match error.code {
        Code::TooLarge => Failure::TooLarge(limit),
        _ => Failure::Other(error),
    }
}

/// Stores a file of an account.
async fn keep<S>(
    app: &App,
    member: &Caller,
    name: &str,
    link: LinkOptions,
    content: S,
) -> Result<content::Uploaded>
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    let target = keeping_both(to_path(format!("{FOLDER}/{}", facts::node_name(name))));
    content::upload(&app.upstreams, member, new_file(target, name, link), content).await
}

/// Stores a file of nobody, whose name only the link knows.
async fn keep_for_nobody<S>(
    app: &App,
    client: &ClientAddress,
    name: &str,
    link: LinkOptions,
    content: S,
) -> Result<content::Uploaded>
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    let settings = &app.compat.file_uploader;
    let nobody = app.delegate()?.act_for_system(&app.upstreams, NOBODY).await?;
    let policy = FolderPolicy {
        time_to_live: prost_types::Duration::try_from(settings.anonymous_time_to_live.get()).ok(),
        max_versions: 1,
        skip_trash: true,
        ..FolderPolicy::default()
    };
    let root = app.folders.ensure(&app.upstreams, &nobody, "", Some(policy)).await?;
    let target = to_child(root, uuid::Uuid::now_v7().to_string());
    let budget = Rule::per_day("file uploader: bytes of nobody", settings.anonymous_bytes_per_day.get());
    let content = within(Arc::clone(app), budget, client.source(), content);
    content::upload(&app.upstreams, &nobody, new_file(target, name, link), content).await
}

fn new_file(target: UploadTarget, name: &str, link: LinkOptions) -> Upload {
    Upload {
        target,
        size: None,
        media_type: media_type::guess(name).to_owned(),
        precondition: None,
        idempotency_key: String::new(),
        link: Some(link),
    }
}

/// The content as long as the bytes of `who` are within the rule.
fn within<S>(
    app: App,
    rule: Rule,
    who: String,
    content: S,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    content.map(move |piece| {
        let piece = piece?;
        app.limits
            .take(rule, &who, piece.len() as u64)
            .map_err(|wait| Error { retry_after: Some(wait), ..Code::RateLimited.into() })?;
        Ok(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_a_number_within_bounds() {
        let uses = |query: &str| max_uses(&Query::of(&format!("/?{query}").parse().unwrap()));
        assert_eq!(uses(""), Some(0));
        assert_eq!(uses("max_uses=0"), Some(0));
        assert_eq!(uses("max_uses=10000"), Some(10_000));
        for bad in ["10001", "-1", "", "x", "1.5", "99999999999"] {
            assert_eq!(uses(&format!("max_uses={bad}")), None, "{bad}");
        }
    }

    #[test]
    fn extensions_that_break_an_address_are_bad() {
        assert!(suffix(".mp4").is_ok() && suffix(".").is_ok() && suffix(&"x".repeat(64)).is_ok());
        assert!(suffix(".a/b").is_err() && suffix(".a\tb").is_err() && suffix(&"x".repeat(65)).is_err());
    }

    #[test]
    fn no_error_is_an_empty_object() {
        assert_eq!(serde_json::to_string(&Why(None)).unwrap(), "{}");
        assert_eq!(
            serde_json::to_string(&Why(Some(AuthError::Invalid))).unwrap(),
            r#"{"message":"Invalid access token","errorId":-4}"#
        );
    }
}
