//! `holdall ls`.

use crate::api::Client;
use crate::args::Ls;
use crate::error::Result;
use crate::output;
use crate::path::RemotePath;

/// Lists a folder, page after page.
pub async fn ls(client: &Client, args: &Ls) -> Result<()> {
    let path = RemotePath::parse(&args.remote)?;
    let mut cursor: Option<String> = None;
    loop {
        let (items, next) = match client.list(&path, cursor.as_deref()).await {
            Err(error) if error.is("not_a_folder") => (vec![client.node(&path).await?], None),
            page => page?,
        };
        let lines: String = items.iter().map(|node| output::line(node, args.long)).collect();
        if !output::print(&lines)? || next.is_none() {
            return Ok(());
        }
        cursor = next;
    }
}
