//! `/links`.

use axum::extract::State;
use holdall_proto::metadata::v1::{self as metadata, CreateLinkRequest, UpdateLinkRequest};
use holdall_proto::timestamp;
use http::{HeaderMap, StatusCode, Uri};
use prost_types::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, nothing};
use super::extract::{IdempotencyKey, Json, Parameters, Path};
use super::page;
use super::problem::Result;
use super::time::Time;
use crate::App;
use crate::error::{self, Code, Error};
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
    /// Names this state of the link; for `If-Match` when changing it.
    etag: &'a str,
}

impl<'a> Link<'a> {
    fn new(base: &str, link: &'a metadata::Link) -> Self {
        Self {
            link_id: &link.link_id,
            slug: &link.slug,
            url: format!("{base}/s/{}", link.slug),
            node_id: &link.node_id,
            created_at: Time::from(&link.created_at),
            expires_at: link.expires_at.map(Time),
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
}

fn expiry(app: &App, at: Option<Time>, seconds: Option<u32>) -> error::Result<Option<Timestamp>> {
    match (at, seconds) {
        (at, None) => Ok(at.map(|Time(time)| time)),
        (None, Some(seconds)) => Ok(Some(timestamp(app.clock.now() + i64::from(seconds) * 1_000_000))),
        (Some(_), Some(_)) => {
            Err(Error::new(Code::InvalidField).field("expires_in", "goes without expires_at"))
        }
    }
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
    Json(NewLink { node_id, expires_at, expires_in }): Json<NewLink>,
) -> Result {
    let base = app.base_url(&uri, &headers)?;
    let expires_at = expiry(&app, expires_at, expires_in)?;
    let request = CreateLinkRequest { node_id, expires_at, idempotency_key };
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
    let expires_at = expiry(&app, expires_at.flatten(), expires_in)?;
    let request = UpdateLinkRequest { link_id, expires_at, precondition: etag::precondition(&headers)? };
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
