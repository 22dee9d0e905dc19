//! `holdall link`.

use crate::api::Client;
use crate::error::Result;
use crate::output;
use crate::path::RemotePath;

/// Makes a short link to a file, and prints it.
pub async fn link(client: &Client, remote: &str, expires_in: Option<u64>) -> Result<()> {
    let node = client.node(&RemotePath::parse(remote)?).await?;
    let link = client.link(&node.node_id, expires_in).await?;
    output::print(&format!("{}\n", output::plain(&link.url))).map(drop)
}
