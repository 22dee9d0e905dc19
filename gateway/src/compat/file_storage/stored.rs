//! `/storage/files/<username>/<aa>/<bb>/<filename>`: the content of a file, where `file_dir` says that it is.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use holdall_proto::metadata::v1::precondition::Condition;
use holdall_proto::metadata::v1::{FoundNode, NodeKind, NodeRef, Precondition, UploadTarget};
use http::{HeaderMap, Method, Uri};

use super::adding::added;
use super::answer::{self, Answer};
use super::call::Authority;
use super::files::is_nowhere;
use super::place::Directory;
use crate::App;
use crate::error::{Code, Error, Result};
use crate::ops::content::{self, Upload, to_node, to_path};
use crate::ops::{Caller, Page, nodes};
use crate::transfer::download::{self, Asked};
use crate::transfer::fields::Fields;
use crate::transfer::media_type;
use crate::transfer::upload::{self, Pieces};

/// As many nodes as metadata finds at once.
const PAGE: i32 = 1000;

/// The variable parts of the path of a URL.
type Parts = std::result::Result<Path<(String, String, String, String)>, PathRejection>;

/// Reads the content.
pub async fn read(
    State(app): State<App>,
    parts: Parts,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> answer::Result<Response> {
    let (user, found) = asked_for(&app, parts, &uri, &headers).await?;
    let file = found.file.reference();
    let opened = content::open(&app.upstreams, &user, file, String::new()).await.map_err(not_here)?;
    // For programs: no browser sends the header that this needs.
    let asked = Asked { method: &method, headers: &headers, attachment: true };
    Ok(download::respond(&app.upstreams, opened, asked).await.map_err(Error::of_read)?)
}

/// Replaces the content. The answer is that of `add_file`.
pub async fn write(
    State(app): State<App>,
    parts: Parts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> answer::Result<Answer> {
    upload::check(&headers)?;
    let (user, found) = asked_for(&app, parts, &uri, &headers).await?;
    let upload = Upload {
        target: found.file.target(),
        size: upload::size(&headers)?,
        media_type: media_type::guess(&found.name).to_owned(),
        // Nothing is made here.
        precondition: Some(Precondition { condition: Some(Condition::Present(true)) }),
        idempotency_key: String::new(),
        link: None,
    };
    let uploaded =
        content::upload(&app.upstreams, &user, upload, Pieces::of(body)).await.map_err(not_here)?;
    Ok(added(&found.directory, uploaded.node.name))
}

/// A file that a URL names.
struct Found {
    directory: Directory,
    name: String,
    file: File,
}

/// How the file is known.
enum File {
    /// By its path in the user's tree; perhaps there is none.
    At(String),
    Id(String),
}

impl File {
    fn reference(&self) -> NodeRef {
        match self {
            Self::At(path) => nodes::by_path(path),
            Self::Id(id) => nodes::by_id(id),
        }
    }

    fn target(&self) -> UploadTarget {
        match self {
            Self::At(path) => to_path(path.clone()),
            Self::Id(id) => to_node(id.clone()),
        }
    }
}

async fn asked_for(
    app: &App,
    parts: Parts,
    uri: &Uri,
    headers: &HeaderMap,
) -> answer::Result<(Caller, Found)> {
    let authority = Authority::of(app, headers).await?;
    let Path((username, first, second, name)) = parts.map_err(|_| Code::InvalidEncoding)?;
    let user = authority.user(app, &username).await?.ok_or(Code::NotFound)?;
    let digits = (first, second);
    let query = Fields::urlencoded(uri.query().unwrap_or_default().as_bytes());
    let found = match query.get("user_dir") {
        Some(user_dir) => in_directory(Directory::parse(&user, &username, user_dir), &digits, name)?,
        None => by_digits(app, &user, &digits, name).await?,
    };
    Ok((user, found))
}

fn in_directory(directory: Directory, digits: &(String, String), name: String) -> Result<Found> {
    let path = directory.path_of(&name).filter(|_| directory.digits_of(&name) == *digits);
    Ok(Found { file: File::At(path.ok_or(Code::NotFound)?), directory, name })
}

/// Of all files with that name the one whose path has these digits.
async fn by_digits(app: &App, user: &Caller, digits: &(String, String), name: String) -> Result<Found> {
    let mut only = None;
    let mut token = String::new();
    loop {
        let page = Page { size: PAGE, token };
        let found = nodes::find_by_name(&app.upstreams, user, name.clone(), page).await.map_err(not_here)?;
        for FoundNode { node, path } in found.found {
            let Some(node) = node.filter(|node| node.kind() == NodeKind::File) else { continue };
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            let directory = Directory::at(user, above);
            if directory.digits_of(&node.name) != *digits {
                continue;
            }
            let found = Found { directory, name: node.name, file: File::Id(node.node_id) };
            if only.replace(found).is_some() {
                return Err(Error::new(Code::NameConflict)
                    .detail("Two files share this path; tell the directory in the parameter `user_dir`."));
            }
        }
        if found.next_page_token.is_empty() {
            return only.ok_or_else(|| Code::NotFound.into());
        }
        token = found.next_page_token;
    }
}

/// What cannot be there is not there.
fn not_here(error: Error) -> Error {
    if is_nowhere(&error) || error.code == Code::PreconditionFailed { Code::NotFound.into() } else { error }
}
