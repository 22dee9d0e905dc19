//! `holdall rm`.

use super::each;
use crate::api::Client;
use crate::error::Result;
use crate::path::RemotePath;
use crate::progress::Progress;

/// Puts files and folders into the trash.
pub async fn rm(client: &Client, remote: &[String]) -> Result<()> {
    let paths = remote.iter().map(|path| RemotePath::parse(path)).collect::<Result<Vec<_>>>()?;
    each(paths, &Progress::new(None, true), async |path| client.trash(&path).await).await
}
