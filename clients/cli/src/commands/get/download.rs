//! A download that can be cut off anywhere and goes on from there.
//!
//! Content is written to `NAME.part`, and its entity tag to `NAME.part.etag`. As long as the server has content with that
//! tag, only the rest is asked for. What is complete is flushed and renamed to `NAME`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt as _;

use crate::api::{Client, Content, Resume};
use crate::error::{Error, Result};
use crate::path::RemotePath;
use crate::progress::Progress;

/// Attempts that get nowhere before it is given up.
const ATTEMPTS: u32 = 3;

/// Without a byte for this long the connection counts as lost.
const IDLE: Duration = Duration::from_secs(60);

/// Downloads a file. `alone` when the bar belongs to this file and not to many.
pub async fn download(
    client: &Client,
    remote: &RemotePath,
    local: &Path,
    progress: &Progress,
    alone: bool,
) -> Result<()> {
    let part = Part::of(local);
    let mut attempt = 1;
    let mut counted = 0;
    loop {
        let before = part.length().await;
        let error = match run(client, remote, &part, progress, alone, &mut counted).await {
            Ok(()) => return part.finish(local).await,
            Err(error) => error,
        };
        // What got further may try again as often as it likes.
        attempt = if part.length().await > before { 1 } else { attempt + 1 };
        match error.retry_in() {
            Some(wait) if attempt <= ATTEMPTS => tokio::time::sleep(wait).await,
            _ => return Err(error),
        }
    }
}

/// One attempt. `counted` is what of this file the bar shows.
async fn run(
    client: &Client,
    remote: &RemotePath,
    part: &Part,
    progress: &Progress,
    alone: bool,
    counted: &mut u64,
) -> Result<()> {
    let mut content = client.get(remote, part.resume().await.as_ref()).await?;
    let mut file =
        if content.start > 0 { part.append().await? } else { part.begin(content.etag.as_deref()).await? };
    if alone && let Some(total) = content.total {
        progress.set_total(total);
    }
    progress.retreat(*counted);
    progress.advance(usize::try_from(content.start).unwrap_or(usize::MAX));
    *counted = content.start;
    while let Some(bytes) = next(&mut content, remote).await? {
        file.write_all(&bytes).await.map_err(|error| part.cannot_write(error))?;
        progress.advance(bytes.len());
        *counted = counted.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
    // Without the flush an error of the last write would be lost.
    file.flush().await.map_err(|error| part.cannot_write(error))?;
    file.sync_all().await.map_err(|error| part.cannot_write(error))?;
    match content.total {
        Some(total) if total != *counted => Err(Error::Connection {
            doing: format!("cannot get {remote}"),
            what: format!("only {counted} of {total} bytes came"),
        }),
        _ => Ok(()),
    }
}

/// The next bytes, if they come in time.
pub async fn next(content: &mut Content, remote: &RemotePath) -> Result<Option<Bytes>> {
    match tokio::time::timeout(IDLE, content.bytes.next()).await {
        Ok(next) => next.transpose(),
        Err(_) => Err(Error::Connection {
            doing: format!("cannot get {remote}"),
            what: "nothing came for a minute".to_owned(),
        }),
    }
}

/// The files of an unfinished download.
struct Part {
    content: PathBuf,
    etag: PathBuf,
}

impl Part {
    fn of(local: &Path) -> Self {
        let with = |suffix: &str| {
            let mut path = OsString::from(local);
            path.push(suffix);
            PathBuf::from(path)
        };
        Self { content: with(".part"), etag: with(".part.etag") }
    }

    async fn length(&self) -> u64 {
        fs::metadata(&self.content).await.map_or(0, |about| about.len())
    }

    /// Where to go on, if anywhere.
    async fn resume(&self) -> Option<Resume> {
        let etag = fs::read_to_string(&self.etag).await.ok()?;
        let have = self.length().await;
        (have > 0 && etag.starts_with('"')).then_some(Resume { have, etag })
    }

    async fn append(&self) -> Result<File> {
        OpenOptions::new().append(true).open(&self.content).await.map_err(|error| self.cannot_write(error))
    }

    /// Starts anew. The tag comes last: there is never a tag beside content of another one.
    async fn begin(&self, etag: Option<&str>) -> Result<File> {
        match fs::remove_file(&self.etag).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.cannot_write(error)),
            _ => {}
        }
        let file = File::create(&self.content).await.map_err(|error| self.cannot_write(error))?;
        if let Some(etag) = etag {
            fs::write(&self.etag, etag).await.map_err(|error| self.cannot_write(error))?;
        }
        Ok(file)
    }

    async fn finish(&self, local: &Path) -> Result<()> {
        let renamed = fs::rename(&self.content, local).await;
        renamed.map_err(|error| Error::local(format!("cannot write {}", local.display()), error))?;
        // A tag without content is ignored.
        let _ = fs::remove_file(&self.etag).await;
        Ok(())
    }

    fn cannot_write(&self, error: io::Error) -> Error {
        Error::local(format!("cannot write {}", self.content.display()), error)
    }
}
