//! `holdall put`.

mod body;
mod walk;

use std::path::{Path, PathBuf};

use reqwest::Body;
use tokio_util::io::ReaderStream;

use super::each;
use crate::api::{Client, Kind, new_key};
use crate::args::Put;
use crate::error::{Error, Result};
use crate::path::RemotePath;
use crate::progress::Progress;
use body::{BUFFER, FileBody, counted};
use walk::{Found, walk};

/// Uploads files, and with `-r` folders.
pub async fn put(client: &Client, args: &Put) -> Result<()> {
    let remote = RemotePath::parse(&args.remote)?;
    if let [local] = args.local.as_slice()
        && local.as_os_str() == "-"
    {
        return put_stdin(client, &remote, args.quiet).await;
    }
    if args.local.iter().any(|local| local.as_os_str() == "-") {
        return Err(Error::Usage("standard input is uploaded alone".to_owned()));
    }
    // One thing goes to the path itself, unless there is a folder; several go into it.
    let into = args.local.len() > 1 || remote.is_folder() || client.kind(&remote).await? == Kind::Folder;
    let mut jobs = Vec::new();
    for local in &args.local {
        let name = file_name(local)?;
        let target = match name {
            Some(name) if into => remote.join(name),
            _ => remote.clone(),
        };
        jobs.push((local.clone(), target));
    }
    let recursive = args.recursive;
    let found = tokio::task::spawn_blocking(move || walk(jobs, recursive))
        .await
        .map_err(|error| Error::Other(error.to_string()))??;

    let total = found.iter().map(Found::size).sum();
    let progress = Progress::new(Some(total), args.quiet);
    each(found, &progress, async |found| match found {
        Found::File { local, remote, .. } => put_file(client, &local, &remote, &progress).await,
        Found::EmptyFolder { remote } => client.make_folder(&remote).await,
    })
    .await
}

/// Uploads a file. After a lost connection it tries once more; the key sees to it that the file is stored once.
async fn put_file(client: &Client, local: &Path, remote: &RemotePath, progress: &Progress) -> Result<()> {
    progress.name(remote.to_string());
    let key = new_key();
    let mut again = true;
    loop {
        let file = FileBody::open(local).await?;
        let (size, sent, trouble) = (file.size(), file.sent(), file.trouble());
        let result =
            client.put(remote, Body::wrap_stream(file.stream(progress.clone())), Some(size), &key).await;
        let error = match result {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let Some(source) = trouble.take() {
            return Err(Error::local(format!("cannot read {}", local.display()), source));
        }
        match error.retry_in() {
            Some(wait) if again => {
                again = false;
                progress.retreat(sent.get());
                tokio::time::sleep(wait).await;
            }
            _ => return Err(error),
        }
    }
}

async fn put_stdin(client: &Client, remote: &RemotePath, quiet: bool) -> Result<()> {
    if remote.is_folder() {
        return Err(Error::Usage("standard input has no name: say which file it becomes".to_owned()));
    }
    let progress = Progress::new(None, quiet);
    progress.name(remote.to_string());
    let stream = ReaderStream::with_capacity(tokio::io::stdin(), BUFFER);
    let result =
        client.put(remote, Body::wrap_stream(counted(stream, progress.clone())), None, &new_key()).await;
    progress.finish();
    result
}

/// The name that a file or folder of this computer has, if its path ends in one: `.` and `/` do not.
fn file_name(local: &Path) -> Result<Option<&str>> {
    match local.file_name() {
        None => Ok(None),
        Some(name) => name.to_str().map(Some).ok_or_else(|| not_unicode(local)),
    }
}

fn not_unicode(local: &Path) -> Error {
    Error::Other(format!(
        "{}: the name is not Unicode, and cannot be used on the server",
        PathBuf::from(local).display()
    ))
}
