//! `holdall get`.

mod download;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::io::AsyncWriteExt as _;

use super::each;
use crate::api::{Client, Kind, Node};
use crate::args::Get;
use crate::error::{Error, Result};
use crate::path::RemotePath;
use crate::progress::Progress;
use download::{download, next};

/// Downloads a file, or with `-r` a folder.
pub async fn get(client: &Client, args: &Get) -> Result<()> {
    let remote = RemotePath::parse(&args.remote)?;
    let kind = client.kind(&remote).await?;
    let to_stdout = args.local.as_deref().is_some_and(|local| local.as_os_str() == "-");
    if kind == Kind::Folder {
        if to_stdout || !args.recursive {
            return Err(Error::Usage(format!(
                "{remote} is a folder; use -r to download it into a folder here"
            )));
        }
        let folder = target(remote.name(), args.local.as_deref()).await?;
        return get_folder(client, &remote, &folder, args.quiet).await;
    }
    let progress = Progress::new(None, args.quiet || to_stdout);
    progress.name(remote.to_string());
    let result = if to_stdout {
        get_to_stdout(client, &remote).await
    } else {
        let local = target(remote.name(), args.local.as_deref()).await?;
        download(client, &remote, &local, &progress, true).await
    };
    progress.finish();
    result
}

/// Where something called `name` is written to: into `local` where that is a folder, else to it.
async fn target(name: Option<&str>, local: Option<&Path>) -> Result<PathBuf> {
    let local = local.unwrap_or(Path::new("."));
    let is_folder = fs::metadata(local).await.is_ok_and(|about| about.is_dir());
    match name {
        Some(name) if is_folder => Ok(local.join(local_name(name)?)),
        _ => Ok(local.to_owned()),
    }
}

/// A name from the server that stays one name here.
fn local_name(name: &str) -> Result<&str> {
    let climbs = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
    if climbs || (cfg!(windows) && name.contains(['\\', ':'])) {
        return Err(Error::Other(format!("{name}: cannot be the name of a file here")));
    }
    Ok(name)
}

async fn get_to_stdout(client: &Client, remote: &RemotePath) -> Result<()> {
    let mut content = client.get(remote, None).await?;
    let mut out = tokio::io::stdout();
    while let Some(bytes) = next(&mut content, remote).await? {
        match out.write_all(&bytes).await {
            // A reader that has seen enough (`holdall get x - | head`) is no failure.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(cannot_write)?,
        }
    }
    match out.flush().await {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        flushed => flushed.map_err(cannot_write),
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::local("cannot write to standard output", error)
}

async fn get_folder(client: &Client, remote: &RemotePath, local: &Path, quiet: bool) -> Result<()> {
    let mut files = Vec::new();
    let mut pending = vec![(remote.clone(), local.to_owned())];
    while let Some((remote, local)) = pending.pop() {
        let made = fs::create_dir_all(&local).await;
        made.map_err(|error| Error::local(format!("cannot make {}", local.display()), error))?;
        for node in all(client, &remote).await? {
            let (remote, local) = (remote.join(&node.name), local.join(local_name(&node.name)?));
            if node.is_folder() {
                pending.push((remote, local));
            } else {
                files.push((remote, local, node.version.map_or(0, |version| version.size)));
            }
        }
    }
    let progress = Progress::new(Some(files.iter().map(|(_, _, size)| size).sum()), quiet);
    each(files, &progress, async |(remote, local, _)| {
        progress.name(remote.to_string());
        download(client, &remote, &local, &progress, false).await
    })
    .await
}

async fn all(client: &Client, folder: &RemotePath) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let (items, next) = client.list(folder, cursor.as_deref()).await?;
        nodes.extend(items);
        if next.is_none() {
            return Ok(nodes);
        }
        cursor = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_server_do_not_climb() {
        for bad in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b"] {
            assert!(local_name(bad).is_err(), "{bad:?}");
        }
        for good in ["...", "a b", "-rf", ".hidden", "ü"] {
            assert_eq!(local_name(good).unwrap(), good);
        }
    }

    #[tokio::test]
    async fn a_folder_here_takes_the_name_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let into = target(Some("a.txt"), Some(dir.path())).await.unwrap();
        assert_eq!(into, dir.path().join("a.txt"));
        let to = target(Some("a.txt"), Some(&dir.path().join("b.txt"))).await.unwrap();
        assert_eq!(to, dir.path().join("b.txt"));
        assert_eq!(target(Some("a.txt"), None).await.unwrap(), Path::new("./a.txt"));
    }
}
