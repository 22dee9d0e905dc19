//! Everything by path: `/fs/{path}`.
//!
//! `curl -T file …/fs/some/folder/` stores a file, a plain GET gives it back, and a GET of a folder lists it.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use holdall_proto::metadata::v1::precondition::Condition;
use holdall_proto::metadata::v1::{CreateFolderRequest, EtagList, Precondition};
use http::header::IF_MATCH;
use http::{HeaderMap, Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer;
use super::content::{self as rest_content, wants_attachment};
use super::extract::{IdempotencyKey, Parameters};
use super::nodes::{self as rest_nodes, Direction, ListQuery, Node, Nodes, Order, created, page_of_nodes};
use super::problem::Result;
use crate::App;
use crate::error::{self, Code, Error};
use crate::ops::{Caller, content, nodes};
use crate::transfer::download::{self, Asked};
use crate::transfer::etag;

/// The path of a request: names joined by `/`, without slashes at either end.
#[derive(Debug, PartialEq, Eq)]
struct FsPath<'a> {
    path: Cow<'a, str>,
    /// Whether it ended in a slash.
    folder: bool,
}

impl<'a> FsPath<'a> {
    /// Reads the part of the URL after `/fs`. Each name is decoded by itself and once: an encoded slash is not a
    /// separator, and no name can hold one.
    fn of(uri: &'a Uri) -> error::Result<Self> {
        let raw = uri.path();
        let raw = raw.strip_prefix("/fs").unwrap_or(raw).trim_start_matches('/');
        let folder = raw.is_empty() || raw.ends_with('/');
        let raw = raw.trim_end_matches('/');
        if !raw.contains('%') {
            return Ok(Self { path: raw.into(), folder });
        }
        let mut path = String::with_capacity(raw.len());
        for name in raw.split('/') {
            let name = percent_decode_str(name).decode_utf8().map_err(|_| Code::InvalidEncoding)?;
            if name.contains('/') {
                return Err(Code::InvalidName.into());
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&name);
        }
        Ok(Self { path: path.into(), folder })
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// For files, which content and how; for folders, which page and in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FsQuery {
    /// File: a version of it; the current one when left out.
    version: Option<String>,
    /// File: `1` to have it saved even where a browser could show it.
    download: Option<String>,
    /// Folder: how many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Folder: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Folder: the order.
    #[param(inline)]
    order: Option<Order>,
    /// Folder: which way.
    #[param(inline)]
    direction: Option<Direction>,
}

/// Reads the content of a file, or lists a folder.
#[utoipa::path(
    method(get, head), path = "/fs/{*path}", tag = "paths", operation_id = "read_path",
    params(
        ("path" = String, Path, description = "Names joined by `/`, each percent-encoded."),
        FsQuery,
        ("Range" = Option<String>, Header, description = "One range of bytes (RFC 9110, §14)."),
        ("If-Range" = Option<String>, Header, description = "The range only if the content has this entity tag."),
        ("If-Match" = Option<String>, Header, description = "Only if the content has one of these entity tags."),
        ("If-None-Match" = Option<String>, Header, description = "Only if the content has none of these entity tags."),
    ),
    responses(
        (status = 200, description = "The content of the file, or a page of the folder.", content(
            (Vec<u8> = "application/octet-stream"),
            (Nodes = "application/json"),
        )),
        (status = 206, description = "A part of the content.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The content is the one that the client has."),
        (status = 400, description = "invalid_cursor"),
        (status = 404, description = "not_found"),
        (status = 412, description = "precondition_failed"),
        (status = 416, description = "range_not_satisfiable"),
        (status = 422, description = "invalid_name, invalid_path, invalid_field"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    Parameters(query): Parameters<FsQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result {
    let FsPath { path, folder } = FsPath::of(&uri)?;
    let FsQuery { version, download, limit, cursor, order, direction } = query;
    let list = ListQuery { limit, cursor, order, direction };
    let asks_for_list =
        list.limit.is_some() || list.cursor.is_some() || list.order.is_some() || list.direction.is_some();
    // One call is enough when the URL shows what it means; otherwise a file is meant more often.
    if !folder && !asks_for_list {
        match content::open(&app.upstreams, &caller, nodes::by_path(&*path), version.unwrap_or_default())
            .await
        {
            Ok(opened) => {
                let attachment = wants_attachment(download.as_deref());
                let asked = Asked { method: &method, headers: &headers, attachment };
                return Ok(download::respond(&app.upstreams, opened, asked).await?);
            }
            Err(Error { code: Code::NotAFile, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let page = rest_nodes::list(&app, &caller, nodes::by_path(path), list).await?;
    page_of_nodes(&page.children, &page.next_page_token)
}

/// Lists the root.
#[utoipa::path(
    method(get, head), path = "/fs", tag = "paths", operation_id = "list_root", params(ListQuery),
    responses(
        (status = 200, description = "A page.", body = Nodes),
        (status = 400, description = "invalid_cursor"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn root(
    State(app): State<App>,
    caller: Caller,
    Parameters(query): Parameters<ListQuery>,
) -> Result {
    let page = rest_nodes::list(&app, &caller, nodes::ROOT, query).await?;
    page_of_nodes(&page.children, &page.next_page_token)
}

/// Writes a file: a new one, or a new version. Folders that are missing on the way are made.
#[utoipa::path(
    put, path = "/fs/{*path}", tag = "paths", operation_id = "write_path",
    params(
        ("path" = String, Path, description = "Names joined by `/`, each percent-encoded."),
        ("If-Match" = Option<String>, Header, description = "Only if the content has one of these entity tags."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such file yet."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key and content changes nothing."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The file, with a new version.", body = Node,
            headers(("ETag" = String, description = "The entity tag of the content."))),
        (status = 201, description = "The new file.", body = Node,
            headers(("ETag" = String, description = "The entity tag of the content."))),
        (status = 400, description = "truncated_body"),
        (status = 408, description = "timeout"),
        (status = 409, description = "not_a_folder, not_a_file, upload_expired"),
        (status = 412, description = "precondition_failed"),
        (status = 413, description = "too_large"),
        (status = 415, description = "unsupported_media_type"),
        (status = 422, description = "invalid_name, invalid_path, idempotency_mismatch"),
        (status = 507, description = "quota_exceeded, storage_full"),
    ),
)]
pub async fn write(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result {
    let path = FsPath::of(&uri)?;
    if path.folder {
        return Err(Error::new(Code::InvalidPath)
            .detail("The path of a file does not end in a slash.")
            .into());
    }
    let target = content::to_path(path.path.to_string());
    rest_content::store(&app, &caller, target, path.name(), key, &headers, body).await
}

/// Makes a folder, with the folders above it that are missing. The body of the request is not looked at.
#[utoipa::path(
    post, path = "/fs/{*path}", tag = "paths", operation_id = "make_folder",
    params(
        ("path" = String, Path, description = "Names joined by `/`, each percent-encoded."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gives the same folder."),
    ),
    responses(
        (status = 200, description = "The folder, which was there already.", body = Node),
        (status = 201, description = "The new folder.", body = Node),
        (status = 409, description = "name_conflict, not_a_folder"),
        (status = 422, description = "invalid_name, invalid_path, idempotency_mismatch"),
    ),
)]
pub async fn make_folder(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Result {
    let name = FsPath::of(&uri)?.path.into_owned();
    let request =
        CreateFolderRequest { parent: Some(nodes::ROOT), name, parents: true, idempotency_key, policy: None };
    let (folder, new) = nodes::create_folder(&app.upstreams, &caller, request).await?;
    if new { created(&folder)?.send() } else { rest_nodes::node(StatusCode::OK, &folder)?.send() }
}

/// Puts a file or folder, with all below it, into the trash.
#[utoipa::path(
    delete, path = "/fs/{*path}", tag = "paths", operation_id = "trash_path",
    params(
        ("path" = String, Path, description = "Names joined by `/`, each percent-encoded."),
        ("If-Match" = Option<String>, Header,
            description = "Only if the content of the file, or the node, has one of these entity tags."),
    ),
    responses(
        (status = 204, description = "It is in the trash."),
        (status = 404, description = "not_found"),
        (status = 409, description = "root_immutable"),
        (status = 412, description = "precondition_failed"),
        (status = 422, description = "invalid_name, invalid_path"),
    ),
)]
pub async fn trash(State(app): State<App>, caller: Caller, uri: Uri, headers: HeaderMap) -> Result {
    let path = FsPath::of(&uri)?.path;
    let (of, precondition) = match etag::tags(&headers, IF_MATCH).map_err(Error::from)? {
        None => (nodes::by_path(path), None),
        Some(tags) => {
            let node = nodes::get(&app.upstreams, &caller, nodes::by_path(path)).await?;
            let content =
                node.version.as_ref().is_some_and(|version| tags.match_strongly(&version.content_etag));
            if !content && !tags.match_strongly(&node.etag) {
                return Err(Code::PreconditionFailed.into());
            }
            // What was compared is what is deleted: any change since then gives another tag.
            let unchanged = Condition::AnyOf(EtagList { etags: vec![node.etag] });
            (nodes::by_id(node.node_id), Some(Precondition { condition: Some(unchanged) }))
        }
    };
    nodes::trash(&app.upstreams, &caller, of, precondition).await?;
    answer::nothing()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(uri: &str) -> Result<(String, bool), Code> {
        let uri: Uri = uri.parse().unwrap();
        FsPath::of(&uri).map(|path| (path.path.into_owned(), path.folder)).map_err(|error| error.code)
    }

    type Result<T, E> = std::result::Result<T, E>;

    #[test]
    fn paths_are_decoded_name_by_name() {
        assert_eq!(path("/fs/a/b.txt"), Ok(("a/b.txt".to_owned(), false)));
        assert_eq!(path("/fs/a/"), Ok(("a".to_owned(), true)));
        assert_eq!(path("/fs"), Ok((String::new(), true)));
        assert_eq!(path("/fs/"), Ok((String::new(), true)));
        assert_eq!(path("/fs/a%20b/%C3%BC"), Ok(("a b/ü".to_owned(), false)));
        assert_eq!(path("/fs/fs/fs"), Ok(("fs/fs".to_owned(), false)));
        assert_eq!(path("/fs/%252f"), Ok(("%2f".to_owned(), false)));
        assert_eq!(path("/fs/%2e%2e/x"), Ok(("../x".to_owned(), false)), "for metadata to refuse");
    }

    #[test]
    fn an_encoded_slash_is_no_separator() {
        assert_eq!(path("/fs/a%2fb"), Err(Code::InvalidName));
        assert_eq!(path("/fs/a%2Fb/c"), Err(Code::InvalidName));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(path("/fs/%ff"), Err(Code::InvalidEncoding));
        assert_eq!(path("/fs/%c0%af"), Err(Code::InvalidEncoding));
        assert_eq!(path("/fs/%ed%a0%80"), Err(Code::InvalidEncoding));
    }

    #[test]
    fn names_are_the_last_part() {
        assert_eq!(FsPath::of(&Uri::from_static("/fs/a/b.txt")).unwrap().name(), "b.txt");
        assert_eq!(FsPath::of(&Uri::from_static("/fs/b.txt")).unwrap().name(), "b.txt");
    }
}
