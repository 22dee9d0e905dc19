//! The buffer of a space: text and files on their way from one device to another.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::id::{BlobId, EntryId};
use super::name::Name;
use super::upload::Stored;
use super::version::{Digest, MediaType};

/// Text or a file in the buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which one.
    pub id: EntryId,
    /// Orders the entries of a space: the latest has the largest.
    pub sequence: u64,
    /// The name of a file; `None` for text.
    pub name: Option<String>,
    /// Where the bytes are.
    pub blob: BlobId,
    /// How many there are.
    pub size: u64,
    /// Their BLAKE3-256.
    pub digest: Digest,
    /// An RFC 9110 media type.
    pub media_type: String,
    /// The device it came from, as the client named it; may be empty.
    pub device: String,
    /// When it was put in; Unix microseconds.
    pub created_at: i64,
    /// From then on it is gone; Unix microseconds.
    pub expires_at: i64,
}

/// Stored bytes that are to become an entry.
#[derive(Clone)]
pub struct NewEntry {
    /// The bytes.
    pub stored: Stored,
    /// The name of a file; `None` for text.
    pub name: Option<Name>,
    /// Their media type.
    pub media_type: MediaType,
    /// The device they come from; may be empty.
    pub device: String,
    /// How long it is to stay, in microseconds; `None` for the usual time.
    pub time_to_live: Option<i64>,
}

/// What the buffers of an installation keep, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long an entry stays that does not say, in microseconds.
    pub time_to_live: i64,
    /// The longest that an entry can ask for, in microseconds.
    pub longest: i64,
    /// How many entries of a space are kept.
    pub keep: u32,
}

impl Limits {
    /// When an entry that is put in at `now` is gone.
    #[must_use]
    pub fn expiry(&self, asked: Option<i64>, now: i64) -> i64 {
        now.saturating_add(asked.unwrap_or(self.time_to_live).min(self.longest))
    }
}

/// What an entry is called: a file must have a name, text must not.
///
/// # Errors
/// [`Error::InvalidName`], [`Error::InvalidField`].
pub fn name(is_file: bool, name: &str) -> Result<Option<Name>, Error> {
    match (is_file, name) {
        (true, name) => Name::parse(name).map(Some),
        (false, "") => Ok(None),
        (false, _) => Err(Error::field("name", "must be empty for text")),
    }
}

/// The media type of an entry; without one, what its kind suggests.
///
/// # Errors
/// [`Error::InvalidField`].
pub fn media_type(is_file: bool, text: &str) -> Result<MediaType, Error> {
    MediaType::parse(if text.is_empty() && !is_file { "text/plain; charset=utf-8" } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_as_long_as_asked_and_allowed() {
        let limits = Limits { time_to_live: 20, longest: 100, keep: 1 };
        assert_eq!(limits.expiry(None, 5), 25);
        assert_eq!(limits.expiry(Some(1), 5), 6);
        assert_eq!(limits.expiry(Some(100), 5), 105);
        assert_eq!(limits.expiry(Some(i64::MAX), 5), 105);
    }

    #[test]
    fn files_have_names_and_text_has_none() {
        assert_eq!(name(false, ""), Ok(None));
        assert!(matches!(name(false, "x"), Err(Error::InvalidField { field: "name", .. })));
        assert_eq!(name(true, "a.txt").unwrap().unwrap().as_str(), "a.txt");
        for bad in ["", "..", "a/b"] {
            assert!(matches!(name(true, bad), Err(Error::InvalidName(_))), "{bad}");
        }
    }

    #[test]
    fn text_is_text() {
        assert_eq!(media_type(false, "").unwrap().as_str(), "text/plain; charset=utf-8");
        assert_eq!(media_type(true, "").unwrap().as_str(), "application/octet-stream");
        assert_eq!(media_type(false, "text/html").unwrap().as_str(), "text/html");
        assert!(media_type(true, "x").is_err());
    }
}
