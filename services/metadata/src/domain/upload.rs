//! Uploads: room set aside, then content by receipt.

use serde::{Deserialize, Serialize};

use super::id::{BlobId, UploadId};
use super::idempotency::Key;
use super::link::{Link, NewLink};
use super::node::{Node, Target};
use super::precondition::Precondition;
use super::version::{Digest, MediaType};

/// Leave to write a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Which upload.
    pub id: UploadId,
    /// Most bytes that it may bring.
    pub max_size: u64,
    /// When the leave, and the room set aside, end; Unix microseconds.
    pub expires_at: i64,
}

/// Bytes that are durable in the blob service, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The upload that they belong to.
    pub upload: UploadId,
    /// Where they are.
    pub blob: BlobId,
    /// How many.
    pub size: u64,
    /// Their hash.
    pub digest: Digest,
}

/// Stored bytes that are to become the content of a file.
#[derive(Clone)]
pub struct Commit {
    /// The bytes.
    pub stored: Stored,
    /// The file.
    pub target: Target,
    /// Whether to take the next name that is free when the target's is taken, instead of making a new version.
    pub keep_both: bool,
    /// Their media type.
    pub media_type: MediaType,
    /// The device they come from; may be empty.
    pub device: String,
    /// On the content tag of the file.
    pub precondition: Precondition,
    /// A link to be made to the file.
    pub link: Option<NewLink>,
    /// The caller's own key, if it gave one.
    pub key: Option<Key>,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The file.
    pub node: Node,
    /// Whether it is new.
    pub created: bool,
    /// The link that was asked for.
    pub link: Option<Link>,
}
