//! Small contents that are kept in memory, where blob runs elsewhere.
//!
//! Content is known by its digest and never changes, so nothing kept here can be out of date. Whether somebody may read it is
//! decided before, by metadata, each time. What does not have the digest that it was stored with is not kept.

use std::time::Duration;

use bytes::Bytes;
use holdall_proto::metadata::v1::Version;
use moka::sync::Cache;

/// Larger content is not kept.
const LARGEST: u64 = 64 << 10;
/// What nobody has read for so long is forgotten.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Bytes that an entry takes beside the content, about.
const OVERHEAD: usize = 256;

/// Contents by their digest. Clones keep the same.
#[derive(Clone)]
pub struct Contents(Cache<[u8; 32], Bytes>);

impl Contents {
    /// Keeps contents that take about `memory` bytes together.
    pub fn new(memory: u64) -> Self {
        let weigher =
            |_: &[u8; 32], content: &Bytes| u32::try_from(OVERHEAD + content.len()).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(memory).time_to_idle(IDLE).weigher(weigher).build())
    }

    /// `len` bytes of the content from `start` on, if it is kept.
    pub fn get(&self, version: &Version, start: u64, len: u64) -> Option<Bytes> {
        if version.size > LARGEST {
            return None;
        }
        let content = self.0.get(&digest(version)?)?;
        let (start, len) = (usize::try_from(start).ok()?, usize::try_from(len).ok()?);
        let end = start.checked_add(len).filter(|end| *end <= content.len())?;
        Some(content.slice(start..end))
    }

    /// Keeps the whole content, if it is that.
    pub fn put(&self, version: &Version, content: &Bytes) {
        if content.len() as u64 != version.size || version.size > LARGEST {
            return;
        }
        if let Some(digest) = digest(version)
            && *blake3::hash(content).as_bytes() == digest
        {
            // A copy: the message that it came in may be larger.
            self.0.insert(digest, Bytes::copy_from_slice(content));
        }
    }
}

fn digest(version: &Version) -> Option<[u8; 32]> {
    version.digest.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(content: &[u8]) -> Version {
        let digest = Bytes::copy_from_slice(blake3::hash(content).as_bytes());
        Version { size: content.len() as u64, digest, ..Version::default() }
    }

    #[test]
    fn what_is_kept_is_what_it_says() {
        let contents = Contents::new(1 << 20);
        let hello = version(b"hello");
        assert_eq!(contents.get(&hello, 0, 5), None);
        contents.put(&hello, &Bytes::from_static(b"hell!"));
        contents.put(&hello, &Bytes::from_static(b"hell"));
        assert_eq!(contents.get(&hello, 0, 5), None);
        contents.put(&hello, &Bytes::from_static(b"hello"));
        assert_eq!(contents.get(&hello, 0, 5), Some(Bytes::from_static(b"hello")));
        assert_eq!(contents.get(&hello, 1, 3), Some(Bytes::from_static(b"ell")));
        assert_eq!(contents.get(&hello, 3, 3), None);
        assert_eq!(contents.get(&version(b"other"), 0, 5), None);
    }

    #[test]
    fn what_is_large_is_not_kept() {
        let contents = Contents::new(1 << 20);
        let large = vec![0; 64 * 1024 + 1];
        contents.put(&version(&large), &large.clone().into());
        assert_eq!(contents.get(&version(&large), 0, 1), None);
        contents.put(&version(&large[1..]), &large[1..].to_vec().into());
        assert!(contents.get(&version(&large[1..]), 0, 65536).is_some());
    }
}
