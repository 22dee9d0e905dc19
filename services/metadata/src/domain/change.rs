//! The log of changes of a space.

use super::id::{NodeId, VersionId};

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was made.
    Created,
    /// It got a new version.
    Content,
    /// It got another name or place.
    Moved,
    /// It was put into the trash.
    Trashed,
    /// It was taken out of the trash.
    Restored,
    /// It was deleted for good.
    Purged,
    /// It got another policy.
    Policy,
}

/// One entry of the log, written in the transaction that made the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// 1, 2, 3, … within a space, in the order of the commits.
    pub sequence: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// To which node; those below it are not named.
    pub node: NodeId,
    /// The version that is current since; `None` for folders.
    pub version: Option<VersionId>,
    /// The device that did it, as it named itself; may be empty.
    pub device: String,
    /// Unix microseconds.
    pub created_at: i64,
}
