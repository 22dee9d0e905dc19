//! `holdall mkdir`.

use crate::api::Client;
use crate::error::Result;
use crate::path::RemotePath;

/// Makes a folder, and those above it that are missing.
pub async fn mkdir(client: &Client, remote: &str) -> Result<()> {
    client.make_folder(&RemotePath::parse(remote)?).await
}
