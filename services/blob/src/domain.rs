//! What blobs are made of: rules and formats, with no disk, database or network in them.

pub mod compress;
pub mod cut;
pub mod manifest;
pub mod payload;
pub mod record;
pub mod seal;
pub mod segment;

use std::fmt;

use uuid::Uuid;

/// Content up to this size is always a single chunk, as is any piece that leaves or enters the service at once.
pub const SMALL: usize = cut::MIN;

/// The name of a blob: a UUIDv7, given at its writing and never again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(Uuid);

impl BlobId {
    /// A new one, made at `unix_us` (microseconds since 1970).
    #[must_use]
    pub fn new(unix_us: i64) -> Self {
        let seconds = u64::try_from(unix_us.div_euclid(1_000_000)).unwrap_or_default();
        let nanos = u32::try_from(unix_us.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
    }

    /// From its 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// From its text; `None` when that is no UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// Its 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_sort_by_time() {
        let (first, second) = (BlobId::new(1_764_000_000_000_000), BlobId::new(1_764_000_000_001_000));
        assert!(first < second);
        assert_eq!(first.0.get_version_num(), 7);
        assert_ne!(BlobId::new(0), BlobId::new(0));
        assert_eq!(BlobId::parse(&first.to_string()), Some(first));
        assert_eq!(BlobId::parse("x"), None);
    }
}
