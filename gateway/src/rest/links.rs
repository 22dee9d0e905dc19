//! `/links`.

use axum::extract::State;
use holdall_proto::metadata::v1::update_link_request::Expiry;
use holdall_proto::metadata::v1::{self as metadata, CreateLinkRequest, LinkOptions, UpdateLinkRequest};
use http::{HeaderMap, StatusCode, Uri};
use prost_types::Duration;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, nothing};
use super::extract::{IdempotencyKey, Json, Parameters, Path};
use super::page;
use super::problem::Result;
use super::time::Time;
use crate::App;
use crate::error::{Code, Error};
use crate::ops::{Caller, links};
use crate::transfer::etag;

/// A short link to a file.
#[derive(Serialize, ToSchema)]
pub struct Link<'a> {
    /// UUID.
    link_id: &'a str,
    /// Whoever has it can read the file.
    #[schema(example = "4fR9xQ0bZk1T")]
    slug: &'a str,
    /// The page to share.
    #[schema(example = "https://files.example.org/s/4fR9xQ0bZk1T")]
    url: String,
    /// The file.
    node_id: &'a str,
    /// When it was made.
    created_at: Time,
    /// When it stops working; null for never.
    expires_at: Option<Time>,
    /// What those who open it see in place of the file's own name; null for that.
    file_name: Option<&'a str>,
    /// How many downloads it is good for; null for any number.
    max_downloads: Option<u32>,
    /// Downloads so far; null where they are not limited, and not counted.
    downloads: Option<u32>,
    /// Names this state of the link; for `If-Match` when changing it.
    etag: &'a str,
}

impl<'a> Link<'a> {
    fn new(base: &str, link: &'a metadata::Link) -> Self {
        let limit = Some(link.max_downloads).filter(|&most| most > 0);
        Self {
            link_id: &link.link_id,
            slug: &link.slug,
            url: format!("{base}/s/{}", link.slug),
            node_id: &link.node_id,
            created_at: Time::from(&link.created_at),
            expires_at: link.expires_at.map(Time),
            file_name: Some(link.file_name.as_str()).filter(|name| !name.is_empty()),
            max_downloads: limit,
            downloads: limit.map(|_| link.downloads),
            etag: &link.etag,
        }
    }
}

/// When a link stops working: at a time, or so many seconds from now; never when both are left out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// The file.
    node_id: String,
    /// The time.
    expires_at: Option<Time>,
    /// The seconds.
    #[schema(example = 86_400, minimum = 1)]
    expires_in: Option<u32>,
    /// What those who open it see in place of the file's own name.
    file_name: Option<String>,
    /// How many downloads it is good for; the file is deleted at the next attempt. Any number when left out.
    #[schema(minimum = 1)]
    max_downloads: Option<u32>,
}

/// A length of time.
fn seconds(seconds: u32) -> Duration {
    Duration { seconds: i64::from(seconds), nanos: 0 }
}

fn answer(base: &str, status: StatusCode, link: &metadata::Link) -> Result<Answer> {
    Answer::json(status, &Link::new(base, link))?.etag(&link.etag)
}

/// Makes a link to a file.
#[utoipa::path(
    post, path = "/links", tag = "links", operation_id = "create_link",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gives the same link.")),
    request_body = NewLink,
    responses(
        (status = 201, description = "The link.", body = Link, headers(("ETag" = String, description = "Its `etag`."))),
        (status = 404, description = "not_found"),
        (status = 409, description = "not_a_file"),
        (status = 422, description = "invalid_field, idempotency_mismatch"),
    ),
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(NewLink { node_id, expires_at, expires_in, file_name, max_downloads }): Json<NewLink>,
) -> Result {
    let base = app.base_url(&uri, &headers)?;
    if expires_at.is_some() && expires_in.is_some() {
        return Err(Error::new(Code::InvalidField).field("expires_in", "goes without expires_at").into());
    }
    let options = LinkOptions {
        expires_at: expires_at.map(|Time(time)| time),
        expires_in: expires_in.map(seconds),
        file_name: file_name.unwrap_or_default(),
        max_downloads: max_downloads.unwrap_or_default(),
        ..LinkOptions::default()
    };
    let request = CreateLinkRequest {
        node_id,
        options: Some(options),
        idempotency_key,
        ..CreateLinkRequest::default()
    };
    let made = links::create(&app.upstreams, &caller, request).await?;
    answer(&base, StatusCode::CREATED, &made)?.location(&format!("/links/{}", made.link_id))?.send()
}

/// A page of links.
#[derive(Serialize, ToSchema)]
pub struct Links<'a> {
    /// The newest first.
    items: Vec<Link<'a>>,
    /// Null on the last page.
    next_cursor: Option<&'a str>,
}

/// Which links.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LinksQuery {
    /// Only links to this file.
    node_id: Option<String>,
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before; leave out for the first page.
    cursor: Option<String>,
}

/// Lists the caller's links, the newest first, those that have expired included.
#[utoipa::path(
    get, path = "/links", tag = "links", operation_id = "list_links", params(LinksQuery),
    responses(
        (status = 200, description = "A page.", body = Links),
        (status = 400, description = "invalid_cursor"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    Parameters(LinksQuery { node_id, limit, cursor }): Parameters<LinksQuery>,
) -> Result {
    let base = app.base_url(&uri, &headers)?;
    let asked = page::page(limit, cursor)?;
    let page = links::list(&app.upstreams, &caller, node_id.unwrap_or_default(), asked).await?;
    let items = page.links.iter().map(|link| Link::new(&base, link)).collect();
    Answer::json(StatusCode::OK, &Links { items, next_cursor: page::next(&page.next_page_token) })?.send()
}

/// Reads a link.
#[utoipa::path(
    get, path = "/links/{id}", tag = "links", operation_id = "get_link",
    params(("id" = String, Path, description = "The link.")),
    responses(
        (status = 200, description = "The link.", body = Link, headers(("ETag" = String, description = "Its `etag`."))),
        (status = 404, description = "not_found"),
    ),
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result {
    let base = app.base_url(&uri, &headers)?;
    answer(&base, StatusCode::OK, &links::get(&app.upstreams, &caller, id).await?)?.send()
}

/// When a link is to stop working: exactly one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkChange {
    /// The time; null for never.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Time>)]
    expires_at: Option<Option<Time>>,
    /// Seconds from now.
    #[schema(minimum = 1)]
    expires_in: Option<u32>,
}

/// Tells null from nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Option<Time>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Changes when a link expires.
#[utoipa::path(
    patch, path = "/links/{id}", tag = "links", operation_id = "update_link",
    params(
        ("id" = String, Path, description = "The link."),
        ("If-Match" = Option<String>, Header, description = "Only if the link has this `etag`."),
    ),
    request_body = LinkChange,
    responses(
        (status = 200, description = "The link as it is now.", body = Link, headers(("ETag" = String, description = "Its `etag`."))),
        (status = 404, description = "not_found"),
        (status = 412, description = "precondition_failed"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn update(
    State(app): State<App>,
    caller: Caller,
    Path(link_id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    Json(LinkChange { expires_at, expires_in }): Json<LinkChange>,
) -> Result {
    let base = app.base_url(&uri, &headers)?;
    if expires_at.is_some() == expires_in.is_some() {
        return Err(Error::new(Code::InvalidField)
            .field("expires_at", "or expires_in is needed, and not both")
            .into());
    }
    let expiry = match (expires_at, expires_in) {
        (Some(Some(Time(time))), None) => Expiry::ExpiresAt(time),
        (None, Some(after)) => Expiry::ExpiresIn(seconds(after)),
        _ => Expiry::Never(true),
    };
    let request = UpdateLinkRequest {
        link_id,
        expiry: Some(expiry),
        precondition: etag::precondition(&headers)?,
        file_name: None,
    };
    answer(&base, StatusCode::OK, &links::update(&app.upstreams, &caller, request).await?)?.send()
}

/// Ends a link for good.
#[utoipa::path(
    delete, path = "/links/{id}", tag = "links", operation_id = "delete_link",
    params(
        ("id" = String, Path, description = "The link."),
        ("If-Match" = Option<String>, Header, description = "Only if the link has this `etag`."),
    ),
    responses(
        (status = 204, description = "It has ended."),
        (status = 404, description = "not_found"),
        (status = 412, description = "precondition_failed"),
    ),
)]
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result {
    links::delete(&app.upstreams, &caller, id, etag::precondition(&headers)?).await?;
    nothing()
}
