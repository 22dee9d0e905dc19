//! `/folders/{id}/policy`.

use axum::extract::State;
use holdall_proto::metadata::v1::FolderPolicy;
use http::StatusCode;
use prost_types::Duration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Json, Path};
use super::nodes::{self as rest_nodes, Node, named};
use super::problem::Result;
use crate::App;
use crate::ops::{Caller, nodes};

/// What a folder does with the files directly in it. What is left out or 0 has no effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = FolderPolicy)]
pub struct Policy {
    /// Files are gone so many seconds after their content was written.
    #[schema(example = 86_400)]
    time_to_live: u32,
    /// When there are more files than this, those that expire first, then the oldest, are deleted for good.
    max_files: u32,
    /// When a file has more versions than this, the oldest are deleted for good.
    max_versions: u32,
    /// Deleting files does not put them into the trash, but is for good.
    skip_trash: bool,
}

impl From<&FolderPolicy> for Policy {
    fn from(policy: &FolderPolicy) -> Self {
        let seconds = policy.time_to_live.map_or(0, |time| time.seconds);
        Self {
            time_to_live: u32::try_from(seconds).unwrap_or(u32::MAX),
            max_files: policy.max_files,
            max_versions: policy.max_versions,
            skip_trash: policy.skip_trash,
        }
    }
}

impl Policy {
    /// Nothing special is no policy.
    fn wire(self) -> Option<FolderPolicy> {
        let Self { time_to_live, max_files, max_versions, skip_trash } = self;
        let seconds = i64::from(time_to_live);
        (self != Self::default()).then(|| FolderPolicy {
            time_to_live: (seconds > 0).then_some(Duration { seconds, nanos: 0 }),
            max_files,
            max_versions,
            skip_trash,
        })
    }
}

/// Sets what a folder does with the files directly in it. Files that are there keep the expiry that they have.
#[utoipa::path(
    put, path = "/folders/{id}/policy", tag = "nodes", operation_id = "set_folder_policy",
    params(("id" = String, Path, description = "The folder, or `root`.")),
    request_body = Policy,
    responses(
        (status = 200, description = "The folder as it is now.", body = Node, headers(("ETag" = String, description = "Its `etag`."))),
        (status = 404, description = "not_found"),
        (status = 409, description = "not_a_folder"),
        (status = 422, description = "invalid_field"),
    ),
)]
pub async fn set(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Json(policy): Json<Policy>,
) -> Result {
    let folder = nodes::set_policy(&app.upstreams, &caller, named(id), policy.wire()).await?;
    rest_nodes::node(StatusCode::OK, &folder)?.send()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_back_as_it_was_given() {
        let policy = Policy { time_to_live: 60, max_files: 1, max_versions: 0, skip_trash: true };
        assert_eq!(Policy::from(&policy.wire().unwrap()), policy);
        assert_eq!(Policy::default().wire(), None);
    }
}
