//! Folders and files.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::id::{NodeId, SpaceId};
use super::name::Name;
use super::path::Path;
use super::policy::Policy;
use super::version::Version;

/// What a node is. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Has children.
    Folder,
    /// Has versions of content.
    File,
}

/// A folder or file as it stands in its tree.
///
/// Trashing marks one node and leaves those below it alone, so `trashed_at` tells about this node only: a node is live
/// when neither it nor a folder above it is marked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Stays through renames and moves.
    pub id: NodeId,
    /// The tree it is in.
    pub space: SpaceId,
    /// The folder it is in; `None` for the root of the space.
    pub parent: Option<NodeId>,
    /// Empty for the root of the space.
    pub name: String,
    /// Folder or file.
    pub kind: Kind,
    /// The sequence number of the latest change to this node; 0 for a root.
    pub revision: u64,
    /// Unix microseconds.
    pub created_at: i64,
    /// When name, place or content changed last; Unix microseconds.
    pub modified_at: i64,
    /// When it was put into the trash by itself; Unix microseconds.
    pub trashed_at: Option<i64>,
    /// The current content; `None` for folders.
    pub version: Option<Version>,
    /// From then on the file is gone, in Unix microseconds; `None` for never and for folders.
    pub expires_at: Option<i64>,
    /// What a folder does with the files directly in it.
    pub policy: Policy,
}

impl Node {
    /// A name for this state of the node: no other state of this node, nor any of another node, has the same one.
    ///
    /// The last 48 (random) bits of the id and the revision, both in hexadecimal.
    #[must_use]
    pub fn etag(&self) -> String {
        let [.., a, b, c, d, e, f] = *self.id.as_bytes();
        format!("{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}-{:x}", self.revision)
    }

    /// Whether it is the root of its space.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether its time is over, and it is as if it were not there.
    #[must_use]
    pub fn is_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Passes for a folder.
    ///
    /// # Errors
    /// [`Error::NotAFolder`].
    pub fn folder(&self) -> Result<(), Error> {
        if self.kind == Kind::Folder { Ok(()) } else { Err(Error::NotAFolder) }
    }

    /// The current content of a file.
    ///
    /// # Errors
    /// [`Error::NotAFile`].
    pub fn content(&self) -> Result<&Version, Error> {
        self.version.as_ref().ok_or(Error::NotAFile)
    }

    /// Passes for everything but the root of a space.
    ///
    /// # Errors
    /// [`Error::RootImmutable`].
    pub fn not_root(&self) -> Result<(), Error> {
        if self.is_root() { Err(Error::RootImmutable) } else { Ok(()) }
    }
}

/// How a caller names a node to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRef {
    /// By id.
    Id(NodeId),
    /// By path from the root of the caller's space.
    Path(Path),
}

/// How a caller names the file that an upload is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file that exists.
    Node(NodeId),
    /// A name in a folder that exists.
    Child {
        /// The folder.
        parent: NodeId,
        /// The name of the file.
        name: Name,
    },
    /// A path from the root of the caller's space; missing folders are made.
    Path(Path),
}

/// The orders in which children can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the bytes of the name.
    Name,
    /// By the time of modification, then by id.
    Modified,
}

/// How children are to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: Order,
    /// Whether the last comes first.
    pub descending: bool,
}

/// A place in a list of children, to go on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildPosition {
    /// After this name.
    Name(String),
    /// After this time and id.
    Modified(i64, NodeId),
}

impl ChildPosition {
    /// The place of `node` in a list in `order`.
    #[must_use]
    pub fn of(node: &Node, order: Order) -> Self {
        match order {
            Order::Name => Self::Name(node.name.clone()),
            Order::Modified => Self::Modified(node.modified_at, node.id),
        }
    }
}

/// A folder, or a chain of folders, to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFolder {
    /// Where.
    pub parent: NodeRef,
    /// One name; with `parents` one or more, each below the one before.
    pub names: Vec<Name>,
    /// Make what is missing in between, and accept a folder that is there already.
    pub parents: bool,
    /// Its policy; `None` leaves that as it is.
    pub policy: Option<Policy>,
}

/// Another name or place for a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeUpdate {
    /// The new name; `None` to keep it.
    pub name: Option<Name>,
    /// The folder to move to; `None` to stay.
    pub parent: Option<NodeId>,
    /// Whether to take the next name that is free when another node has the name.
    pub keep_both: bool,
}

/// What became of something that was to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The node.
    pub node: Node,
    /// Whether it is new.
    pub created: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: NodeId, revision: u64) -> Node {
        Node {
            id,
            space: SpaceId::new(0),
            parent: None,
            name: String::new(),
            kind: Kind::Folder,
            revision,
            created_at: 0,
            modified_at: 0,
            trashed_at: None,
            version: None,
            expires_at: None,
            policy: Policy::NONE,
        }
    }

    #[test]
    fn a_tag_names_one_state_of_one_node() {
        let (a, b) = (NodeId::new(0), NodeId::new(0));
        assert_eq!(node(a, 17).etag(), node(a, 17).etag());
        assert_ne!(node(a, 17).etag(), node(a, 18).etag());
        assert_ne!(node(a, 17).etag(), node(b, 17).etag());
        assert!(node(a, u64::MAX).etag().bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'));
    }

    #[test]
    fn a_file_is_gone_from_its_expiry_on() {
        let mut node = node(NodeId::new(0), 1);
        assert!(!node.is_expired(i64::MAX));
        node.expires_at = Some(10);
        assert_eq!((node.is_expired(9), node.is_expired(10), node.is_expired(11)), (false, true, true));
    }

    #[test]
    fn a_root_folder_is_no_file_and_stays() {
        let root = node(NodeId::new(0), 0);
        assert_eq!(root.folder(), Ok(()));
        assert_eq!(root.content(), Err(Error::NotAFile));
        assert_eq!(root.not_root(), Err(Error::RootImmutable));
    }
}
