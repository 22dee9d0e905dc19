//! `/changes`.

use axum::extract::State;
use holdall_proto::metadata::v1::{self as metadata, ChangeKind};
use http::StatusCode;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::answer::Answer;
use super::extract::Parameters;
use super::page;
use super::problem::Result;
use super::time::Time;
use crate::App;
use crate::error::Code;
use crate::ops::{Caller, changes};

/// What happened to a node.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It was made.
    Created,
    /// It got new content.
    Content,
    /// It got another name or place.
    Moved,
    /// It was put into the trash.
    Trashed,
    /// It was taken out of the trash.
    Restored,
    /// It was deleted for good.
    Purged,
    /// It got another policy.
    Policy,
    /// Something that this version does not know.
    Unknown,
}

impl From<ChangeKind> for Kind {
    fn from(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Created => Self::Created,
            ChangeKind::Content => Self::Content,
            ChangeKind::Moved => Self::Moved,
            ChangeKind::Trashed => Self::Trashed,
            ChangeKind::Restored => Self::Restored,
            ChangeKind::Purged => Self::Purged,
            ChangeKind::Policy => Self::Policy,
            ChangeKind::Unspecified => Self::Unknown,
        }
    }
}

/// A change to a node. Nodes below a folder that was moved, trashed or restored are not named.
#[derive(Serialize, ToSchema)]
pub struct Change<'a> {
    /// 1, 2, 3, … within the space, without gaps.
    sequence: u64,
    /// What happened.
    #[schema(inline)]
    kind: Kind,
    /// To which node.
    node_id: &'a str,
    /// The version that is current since; null for folders.
    version_id: Option<&'a str>,
    /// The device that did it; may be empty.
    device: &'a str,
    /// When.
    created_at: Time,
}

impl<'a> From<&'a metadata::Change> for Change<'a> {
    fn from(change: &'a metadata::Change) -> Self {
        Self {
            sequence: change.sequence,
            kind: change.kind().into(),
            node_id: &change.node_id,
            version_id: Some(change.version_id.as_str()).filter(|id| !id.is_empty()),
            device: &change.device,
            created_at: Time::from(&change.created_at),
        }
    }
}

/// A page of changes.
#[derive(Serialize, ToSchema)]
pub struct Changes<'a> {
    /// In order.
    #[serde(serialize_with = "each_change")]
    #[schema(value_type = Vec<Change>)]
    items: &'a [metadata::Change],
    /// Where to go on, now or later; always there.
    next_cursor: String,
    /// Whether there is more to read at once.
    has_more: bool,
}

fn each_change<S: Serializer>(
    items: &&[metadata::Change],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(Change::from))
}

/// Which part of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before; leave out for the start of the log.
    cursor: Option<String>,
}

/// Lists what has changed since a cursor. A reader that goes on from the cursor it was given misses nothing and sees
/// nothing twice. After the server was restored from a backup, cursors of before it are refused with `cursor_expired`.
#[utoipa::path(
    get, path = "/changes", tag = "changes", operation_id = "list_changes", params(ChangesQuery),
    responses(
        (status = 200, description = "A page.", body = Changes),
        (status = 400, description = "invalid_cursor"),
        (status = 410, description = "cursor_expired"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Parameters(query): Parameters<ChangesQuery>,
) -> Result {
    let size = page::size(query.limit)?;
    // The cursor is an epoch and a sequence number in it, which clients need not know.
    let place = query.cursor.as_deref().map_or(Some(("", 0)), parse).ok_or(Code::InvalidCursor)?;
    let (epoch, after) = place;
    let page = changes::list(&app.upstreams, &caller, after, epoch.to_owned(), size).await.map_err(
        |mut error| {
            // A number that was never given out is the cursor's fault.
            if error.code == Code::InvalidField {
                error = Code::InvalidCursor.into();
            }
            error
        },
    )?;
    let body = Changes {
        items: &page.changes,
        next_cursor: format!("{}-{}", page.epoch, page.last_sequence),
        has_more: page.has_more,
    };
    Answer::large_json(StatusCode::OK, &body, 128 + page.changes.len() * 256)?.send()
}

/// The epoch and the sequence number of a cursor.
fn parse(cursor: &str) -> Option<(&str, u64)> {
    let (epoch, sequence) = cursor.split_once('-')?;
    let is_epoch = epoch.bytes().all(|byte| byte.is_ascii_hexdigit()) && epoch.len() == 16;
    let is_number = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit());
    Some((epoch, sequence.parse().ok()?)).filter(|_| is_epoch && is_number)
}
