//! Messages as domain values and back. Everything that comes in is checked here or by the type it becomes.

use holdall_proto::metadata::v1 as proto;
use holdall_proto::{timestamp, unix_us};

use crate::domain::change::{Change, ChangeKind};
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::link::Link;
use crate::domain::name::Name;
use crate::domain::node::{Kind, Node, NodeRef, Order, Target};
use crate::domain::path::Path;
use crate::domain::precondition::{MAX_ETAGS, Precondition};
use crate::domain::space::Space;
use crate::domain::version::Version;

/// An id that cannot exist answers like one that does not.
pub(super) fn node_id(text: &str) -> Result<NodeId, Error> {
    NodeId::parse(text).ok_or(Error::NotFound)
}

/// A reference that may be left out for the root.
pub(super) fn node_ref(reference: Option<&proto::NodeRef>) -> Result<NodeRef, Error> {
    match reference.and_then(|reference| reference.r#ref.as_ref()) {
        None => Ok(NodeRef::Path(Path::root())),
        Some(proto::node_ref::Ref::NodeId(id)) => Ok(NodeRef::Id(node_id(id)?)),
        Some(proto::node_ref::Ref::Path(path)) => Ok(NodeRef::Path(Path::parse(path)?)),
    }
}

/// A reference that must be there.
pub(super) fn required_ref(reference: Option<&proto::NodeRef>) -> Result<NodeRef, Error> {
    if reference.is_none_or(|reference| reference.r#ref.is_none()) {
        return Err(Error::field("ref", "must be set"));
    }
    node_ref(reference)
}

pub(super) fn target(target: Option<proto::UploadTarget>) -> Result<Target, Error> {
    use proto::upload_target::Target as Wire;
    match target.and_then(|target| target.target) {
        None => Err(Error::field("target", "must be set")),
        Some(Wire::NodeId(id)) => Ok(Target::Node(node_id(&id)?)),
        Some(Wire::Child(child)) => {
            Ok(Target::Child { name: Name::parse(&child.name)?, parent: node_id(&child.parent_id)? })
        }
        Some(Wire::Path(path)) => Ok(Target::Path(Path::parse(&path)?)),
    }
}

/// One name, or with `parents` several that are joined as in a path.
pub(super) fn folder_names(name: &str, parents: bool) -> Result<Vec<Name>, Error> {
    if !parents {
        return Ok(vec![Name::parse(name)?]);
    }
    match Path::parse(name)?.names() {
        [] => Err(Error::InvalidName("must not be empty")),
        names => Ok(names.to_vec()),
    }
}

pub(super) fn precondition(condition: Option<proto::Precondition>) -> Result<Precondition, Error> {
    use proto::precondition::Condition;
    const NOT_FALSE: &str = "must be true or left out";
    match condition.and_then(|condition| condition.condition) {
        None => Ok(Precondition::None),
        Some(Condition::Absent(true)) => Ok(Precondition::Absent),
        Some(Condition::Absent(false)) => Err(Error::field("precondition.absent", NOT_FALSE)),
        Some(Condition::Present(true)) => Ok(Precondition::Present),
        Some(Condition::Present(false)) => Err(Error::field("precondition.present", NOT_FALSE)),
        Some(Condition::AnyOf(list)) if list.etags.is_empty() || list.etags.len() > MAX_ETAGS => {
            Err(Error::field("precondition.any_of", "must hold 1 to 64 tags"))
        }
        Some(Condition::AnyOf(list)) => Ok(Precondition::AnyOf(list.etags)),
    }
}

pub(super) fn order(order: i32) -> Result<Order, Error> {
    match proto::ListOrder::try_from(order) {
        Ok(proto::ListOrder::Unspecified | proto::ListOrder::Name) => Ok(Order::Name),
        Ok(proto::ListOrder::Modified) => Ok(Order::Modified),
        Err(_) => Err(Error::field("order", "is not known")),
    }
}

/// An expiry as Unix microseconds.
pub(super) fn expires_at(time: Option<prost_types::Timestamp>) -> Result<Option<i64>, Error> {
    const BAD: Error =
        Error::InvalidField { field: "expires_at", problem: "must be a time in the years 1 to 9999" };
    time.map(|time| unix_us(&time).ok_or(BAD)).transpose()
}

pub(super) fn from_node(node: Node) -> proto::Node {
    proto::Node {
        etag: node.etag(),
        node_id: node.id.to_string(),
        space_id: node.space.to_string(),
        parent_id: node.parent.map(|id| id.to_string()).unwrap_or_default(),
        name: node.name,
        kind: match node.kind {
            Kind::Folder => proto::NodeKind::Folder,
            Kind::File => proto::NodeKind::File,
        }
        .into(),
        created_at: Some(timestamp(node.created_at)),
        modified_at: Some(timestamp(node.modified_at)),
        trashed_at: node.trashed_at.map(timestamp),
        version: node.version.map(from_version),
    }
}

pub(super) fn from_version(version: Version) -> proto::Version {
    proto::Version {
        content_etag: version.content_etag(),
        version_id: version.id.to_string(),
        size: version.size,
        digest: bytes::Bytes::copy_from_slice(&version.digest.0),
        media_type: version.media_type,
        author_account_id: version.author.to_string(),
        device: version.device,
        created_at: Some(timestamp(version.created_at)),
    }
}

pub(super) fn from_space(space: &Space) -> proto::Space {
    proto::Space {
        space_id: space.id.to_string(),
        owner_account_id: space.owner.to_string(),
        root_node_id: space.root.to_string(),
        quota_bytes: space.quota,
        used_bytes: space.used,
        reserved_bytes: space.reserved,
        change_sequence: space.change_sequence,
    }
}

pub(super) fn from_link(link: &Link) -> proto::Link {
    proto::Link {
        link_id: link.id.to_string(),
        slug: link.slug.as_str().to_owned(),
        node_id: link.node.to_string(),
        created_at: Some(timestamp(link.created_at)),
        expires_at: link.expires_at.map(timestamp),
        etag: link.etag(),
    }
}

pub(super) fn from_change(change: Change) -> proto::Change {
    proto::Change {
        sequence: change.sequence,
        kind: match change.kind {
            ChangeKind::Created => proto::ChangeKind::Created,
            ChangeKind::Content => proto::ChangeKind::Content,
            ChangeKind::Moved => proto::ChangeKind::Moved,
            ChangeKind::Trashed => proto::ChangeKind::Trashed,
            ChangeKind::Restored => proto::ChangeKind::Restored,
            ChangeKind::Purged => proto::ChangeKind::Purged,
        }
        .into(),
        node_id: change.node.to_string(),
        version_id: change.version.map(|id| id.to_string()).unwrap_or_default(),
        device: change.device,
        created_at: Some(timestamp(change.created_at)),
    }
}
