//! `holdall mv`.

use crate::api::{Client, Kind};
use crate::error::{Error, Result};
use crate::path::RemotePath;

/// Renames or moves a file or folder.
pub async fn mv(client: &Client, from: &str, to: &str) -> Result<()> {
    let (from, to) = (RemotePath::parse(from)?, RemotePath::parse(to)?);
    let Some(old_name) = from.name() else {
        return Err(Error::Usage("the topmost folder cannot be moved".to_owned()));
    };
    let node = client.node(&from).await?;
    let into = to.is_folder() || client.kind(&to).await? == Kind::Folder;
    let (folder, name) = match to.name() {
        Some(name) if !into => (to.parent(), name),
        _ => (to.clone(), old_name),
    };
    let parent_id = if folder.is_root() { "root".to_owned() } else { client.node(&folder).await?.node_id };
    client.move_node(&node.node_id, &parent_id, name).await
}
