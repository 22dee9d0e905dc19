//! Whether there is room on the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// How long an answer is good for, in milliseconds. Asking takes a microsecond.
const FRESH_MILLIS: u64 = 10;

/// Keeps part of the disk free, for the index and for what else needs it to go on.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    reserve: Option<u64>,
    start: Instant,
    /// Milliseconds after `start` at which the system was asked last.
    asked: AtomicU64,
    is_full: AtomicBool,
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can be written.
    pub free: u64,
    /// Bytes that are left to others.
    pub reserve: u64,
    /// Files that can be made; `None` where there is no limit.
    pub files: Option<u64>,
}

impl Space {
    /// Of the file system that `path` is on. `reserve` is in bytes; by default 5 % of it, at most 1 GiB.
    pub fn of(path: &Path, reserve: Option<u64>) -> io::Result<Self> {
        let disk = rustix::fs::statvfs(path)?;
        let reserve = reserve.unwrap_or_else(|| (disk.f_blocks * disk.f_frsize / 20).min(1 << 30));
        let files = (disk.f_files > 0).then_some(disk.f_favail);
        Ok(Self { free: disk.f_bavail * disk.f_frsize, reserve, files })
    }
}

impl Room {
    /// Watches the file system that `path` is on. `reserve` is in bytes; by default 5 % of it, at most 1 GiB.
    pub fn new(path: PathBuf, reserve: Option<u64>) -> Self {
        let room = Self {
            path,
            reserve,
            start: Instant::now(),
            asked: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
        };
        room.ask();
        room
    }

    /// Whether new content may still be taken in. The answer is at most a hundredth of a second old: in a
    /// whole second a fast disk takes more than the reserve.
    pub fn is_full(&self) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let asked = self.asked.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(asked) >= FRESH_MILLIS;
        // Of several callers one asks.
        if is_due && self.asked.compare_exchange(asked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.ask();
        }
        self.is_full.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        match Space::of(&self.path, self.reserve) {
            Ok(Space { free, reserve, .. }) => {
                let is_full = free < reserve;
                if self.is_full.swap(is_full, Ordering::Relaxed) != is_full {
                    tracing::warn!(is_full, reserve, "the room on the disk has changed");
                }
            }
            // A disk that does not answer will refuse the write itself.
            Err(error) => tracing::error!(%error, "cannot ask how much room there is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_decides() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Room::new(dir.path().to_owned(), Some(0)).is_full());
        assert!(Room::new(dir.path().to_owned(), Some(u64::MAX)).is_full());
    }
}
