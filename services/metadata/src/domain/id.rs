//! Identifiers as types, so that one kind is never taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new UUIDv7 (RFC 9562 §5.7) with the given time, in microseconds since 1970.
            #[must_use]
            pub fn new(now: i64) -> Self {
                Self(v7(now))
            }

            /// Reads the 36-character form. `None` for anything else: an id that nothing can have.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != uuid::fmt::Hyphenated::LENGTH {
                    return None;
                }
                Uuid::try_parse(text).ok().map(Self)
            }

            /// The bytes, for hashing.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// An account, as auth knows it.
    AccountId
}
id! {
    /// A tree with a quota.
    SpaceId
}
id! {
    /// A folder or file.
    NodeId
}
id! {
    /// Content of a file at one time.
    VersionId
}
id! {
    /// A link; not its slug, which is the secret part.
    LinkId
}
id! {
    /// An upload between its beginning and its commit.
    UploadId
}
id! {
    /// Text or a file in a buffer.
    EntryId
}
id! {
    /// Bytes in the blob service.
    BlobId
}

/// Times before 1970 count as 1970: order among new ids is a convenience, never relied on.
fn v7(now: i64) -> Uuid {
    let now = u64::try_from(now).unwrap_or_default();
    let nanos = u32::try_from(now % 1_000_000 * 1_000).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, now / 1_000_000, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_holds_its_time() {
        let id = NodeId::new(1_764_000_000_123_456);
        assert_eq!(id.0.get_version_num(), 7);
        let (seconds, nanos) = id.0.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_764_000_000, 123));
        assert_ne!(NodeId::new(5), NodeId::new(5));
        assert_eq!(NodeId::new(-5).0.get_version_num(), 7);
    }

    #[test]
    fn text_leads_back() {
        let id = NodeId::new(1);
        assert_eq!(NodeId::parse(&id.to_string()), Some(id));
        assert_eq!(NodeId::parse(&id.to_string().to_uppercase()), Some(id));
    }

    #[test]
    fn what_is_no_id_is_none() {
        let simple = Uuid::nil().simple().to_string();
        let urn = Uuid::nil().urn().to_string();
        for text in ["", "root", "0", &simple, &urn, "0190ebd0-0000-7000-8000-00000000000g", "ä"] {
            assert_eq!(NodeId::parse(text), None, "{text}");
        }
    }
}
