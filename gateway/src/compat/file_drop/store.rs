//! Who may come in, and the account that holds the files.

use holdall_proto::metadata::v1::FolderPolicy;
use http::HeaderMap;

use crate::App;
use crate::compat::config::Access;
use crate::error::Result;
use crate::identity::{Handle, identify};
use crate::ops::Caller;

/// The account of the installation that all files belong to.
const ACCOUNT: &str = "file-drop";

/// What was replaced or deleted is gone at once, as in the original: nobody could get it back.
const POLICY: FolderPolicy =
    FolderPolicy { time_to_live: None, max_files: 0, max_versions: 1, skip_trash: true };

/// Lets everybody in where the store is open, and elsewhere whoever holds a live session, whose ever it is.
pub async fn admit(app: &App, headers: &HeaderMap) -> Result<()> {
    match app.compat.file_drop.access {
        Some(Access::Open) => Ok(()),
        Some(Access::Account) | None => identify(app, Handle::of(headers)?).await.map(drop),
    }
}

/// The account that holds the files.
pub async fn keeper(app: &App) -> Result<Caller> {
    app.delegate()?.act_for_system(&app.upstreams, ACCOUNT).await
}

/// The folder that new files go to.
pub async fn folder(app: &App, keeper: &Caller) -> Result<String> {
    app.folders.ensure(&app.upstreams, keeper, "", Some(POLICY)).await
}
