//! Files as bodies of requests.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Read at once.
pub const BUFFER: usize = 256 << 10;

/// A file that is read once, exactly as long as it was when it was opened.
pub struct FileBody {
    file: File,
    size: u64,
    sent: Sent,
    trouble: Trouble,
}

/// How many bytes of a body were taken.
#[derive(Clone, Default)]
pub struct Sent(Arc<AtomicU64>);

impl Sent {
    /// So many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What went wrong with the file, as opposed to the connection.
#[derive(Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<io::Error>>>);

impl Trouble {
    /// What it was, if anything.
    pub fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: io::Error) -> io::Error {
        let told = io::Error::new(error.kind(), error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        told
    }
}

impl FileBody {
    /// Opens the file.
    pub async fn open(path: &Path) -> Result<Self> {
        let cannot = |error| Error::local(format!("cannot read {}", path.display()), error);
        let file = File::open(path).await.map_err(cannot)?;
        let size = file.metadata().await.map_err(cannot)?.len();
        Ok(Self { file, size, sent: Sent::default(), trouble: Trouble::default() })
    }

    /// Its length.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How much of it was sent, also later.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// What went wrong with it, also later.
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Its bytes. Fails when there are fewer than there were.
    pub fn stream(self, progress: Progress) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let Self { file, size, sent, trouble } = self;
        let state = (file.take(size), size);
        futures::stream::try_unfold(state, async |(mut file, left)| {
            if left == 0 {
                return Ok(None);
            }
            let mut buffer = BytesMut::with_capacity(BUFFER);
            let read = file.read_buf(&mut buffer).await?;
            if read == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it became shorter while it was read",
                ));
            }
            let left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
            Ok(Some((buffer.freeze(), (file, left))))
        })
        .inspect_ok(move |bytes| {
            sent.0.fetch_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
            progress.advance(bytes.len());
        })
        .map_err(move |error| trouble.note(error))
    }
}

/// A stream whose bytes are counted as they pass.
pub fn counted<S>(stream: S, progress: Progress) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    stream.map(move |bytes| bytes.inspect(|bytes| progress.advance(bytes.len())))
}
