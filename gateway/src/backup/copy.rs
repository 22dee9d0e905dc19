//! Copying bytes: hashed on their way, flushed at the end, and counted for whoever waits.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::manifest::Part;

/// Bytes that are held at a time.
const BUFFER: usize = 1 << 20;
/// How often progress is told.
const TICK: Duration = Duration::from_secs(2);

/// How far it is. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<[AtomicU64; 2]>);

impl Progress {
    /// So many bytes are done.
    pub fn add(&self, bytes: u64) {
        let [done, _] = &*self.0;
        done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are to be done beside those that are done.
    pub fn expect(&self, bytes: u64) {
        let [done, total] = &*self.0;
        total.store(done.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// Tells on standard error how far it is, until `work` is done.
    pub async fn watch<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let mut ticks = tokio::time::interval(TICK);
        ticks.tick().await;
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => {
                    let [done, total] = self.0.each_ref().map(|bytes| bytes.load(Ordering::Relaxed));
                    let _ = writeln!(io::stderr(), "{what}: {done} of {} bytes", total.max(done));
                }
            }
        }
    }
}

/// Makes a folder and its parents that are missing, for their owner alone.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file, or empties one that is there, for its owner alone.
pub fn make_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Makes the names in a folder durable.
pub fn flush_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Hashes the bytes of `source` from `from` on, `size` of them at most, and writes them to the same place in `target`, if
/// there is one.
pub fn pass(
    source: &File,
    target: Option<&File>,
    from: u64,
    size: u64,
    progress: &Progress,
) -> io::Result<Part> {
    let mut buffer = vec![0; BUFFER];
    let mut hasher = blake3::Hasher::new();
    let mut done = 0;
    while done < size {
        let wanted = usize::try_from(size - done).unwrap_or(BUFFER).min(BUFFER);
        let read = match source.read_at(buffer.get_mut(..wanted).unwrap_or_default(), from + done) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        hasher.update(bytes);
        if let Some(target) = target {
            target.write_all_at(bytes, from + done)?;
        }
        done += read as u64;
        progress.add(read as u64);
    }
    Ok(Part { size: done, blake3: hasher.finalize().to_hex().to_string() })
}

/// Whether `source` holds these parts, one after the other; they are written to `target`, if there is one, and flushed.
pub fn pass_parts(
    source: &File,
    target: Option<&File>,
    parts: &[Part],
    progress: &Progress,
) -> io::Result<bool> {
    let mut from = 0;
    for part in parts {
        if pass(source, target, from, part.size, progress)? != *part {
            return Ok(false);
        }
        from += part.size;
    }
    if let Some(target) = target {
        target.sync_all()?;
    }
    Ok(true)
}

/// On a thread that may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..3 * BUFFER + 17).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, &content).unwrap();
        let source = File::open(&from).unwrap();
        let progress = Progress::default();
        let first = pass(&source, None, 0, BUFFER as u64 + 5, &progress).unwrap();
        let second = pass(&source, None, first.size, u64::MAX, &progress).unwrap();
        assert_eq!(first.size + second.size, content.len() as u64);
        let parts = [first, second];
        let target = make_file(&to).unwrap();
        assert!(pass_parts(&source, Some(&target), &parts, &progress).unwrap());
        assert!(std::fs::read(&to).unwrap() == content);
        let mut flipped = content.clone();
        flipped[2 * BUFFER] ^= 1;
        for wrong in [&flipped[..], &content[..content.len() - 1]] {
            std::fs::write(&from, wrong).unwrap();
            assert!(!pass_parts(&File::open(&from).unwrap(), None, &parts, &progress).unwrap());
        }
    }
}
