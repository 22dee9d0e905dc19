//! Messages as domain values and back. Everything that comes in is checked here or by the type it becomes.

use holdall_proto::metadata::v1 as proto;
use holdall_proto::{timestamp, unix_us};

use crate::domain::buffer::Entry;
use crate::domain::change::{Change, ChangeKind};
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::link::{self, Expiry, Form, Link, LinkUpdate, NewLink, Slug};
use crate::domain::name::Name;
use crate::domain::node::{Kind, Node, NodeRef, Order, Target};
use crate::domain::path::Path;
use crate::domain::policy::{self, Policy};
use crate::domain::precondition::{MAX_ETAGS, Precondition};
use crate::domain::space::Space;
use crate::domain::version::Version;
use crate::store::LinkedNode;

const NOT_FALSE: &str = "must be true or left out";

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

/// The file that an upload is for, and whether to keep what has its name.
pub(super) fn target(target: Option<proto::UploadTarget>) -> Result<(Target, bool), Error> {
    use proto::upload_target::Target as Wire;
    let proto::UploadTarget { target, keep_both } = target.unwrap_or_default();
    let target = match target {
        None => return Err(Error::field("target", "must be set")),
        Some(Wire::NodeId(_)) if keep_both => {
            return Err(Error::field("target.keep_both", "must not be set together with node_id"));
        }
        Some(Wire::NodeId(id)) => Target::Node(node_id(&id)?),
        Some(Wire::Child(child)) => {
            Target::Child { name: Name::parse(&child.name)?, parent: node_id(&child.parent_id)? }
        }
        Some(Wire::Path(path)) => Target::Path(Path::parse(&path)?),
    };
    Ok((target, keep_both))
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

/// A length of time in microseconds, rounded up: positive, and not so long that its end could not be told.
pub(super) fn lifetime(field: &'static str, time: &prost_types::Duration) -> Result<i64, Error> {
    let micros = (0..1_000_000_000)
        .contains(&time.nanos)
        .then(|| time.seconds.checked_mul(1_000_000)?.checked_add((i64::from(time.nanos) + 999) / 1_000))
        .flatten();
    micros
        .filter(|micros| (1..=policy::LONGEST).contains(micros))
        .ok_or(Error::field(field, "must be positive and at most 1000 years"))
}

pub(super) fn policy(policy: proto::FolderPolicy) -> Result<Policy, Error> {
    let time_to_live = policy.time_to_live.as_ref();
    Ok(Policy {
        time_to_live: time_to_live.map(|time| lifetime("policy.time_to_live", time)).transpose()?,
        max_files: policy.max_files,
        max_versions: policy.max_versions,
        skip_trash: policy.skip_trash,
    })
}

fn expires_at(time: &prost_types::Timestamp) -> Result<Expiry, Error> {
    let time = unix_us(time).ok_or(Error::field("expires_at", "must be a time in the years 1 to 9999"))?;
    Ok(Expiry::At(time))
}

fn expires_in(time: &prost_types::Duration) -> Result<Expiry, Error> {
    Ok(Expiry::In(lifetime("expires_in", time)?))
}

/// The form of a link; `None` for one that is not known.
pub(super) fn form(form: i32) -> Option<Form> {
    match proto::LinkForm::try_from(form).ok()? {
        proto::LinkForm::Unspecified | proto::LinkForm::Short => Some(Form::Short),
        proto::LinkForm::Code => Some(Form::Code),
        proto::LinkForm::Hex => Some(Form::Hex),
        proto::LinkForm::Token => Some(Form::Token),
        proto::LinkForm::Uuid => Some(Form::Uuid),
    }
}

pub(super) const UNKNOWN_FORM: Error = Error::InvalidField { field: "form", problem: "is not known" };

pub(super) fn new_link(options: &proto::LinkOptions) -> Result<NewLink, Error> {
    let expiry = match (&options.expires_at, &options.expires_in) {
        (None, None) => Expiry::Never,
        (Some(time), None) => expires_at(time)?,
        (None, Some(time)) => expires_in(time)?,
        (Some(_), Some(_)) => {
            return Err(Error::field("expires_in", "must not be set together with expires_at"));
        }
    };
    Ok(NewLink {
        form: form(options.form).ok_or(UNKNOWN_FORM)?,
        suffix: Slug::suffix(&options.slug_suffix)?.to_owned(),
        expiry,
        file_name: link::file_name(&options.file_name)?.to_owned(),
        max_downloads: options.max_downloads,
        deletable: options.deletable,
    })
}

pub(super) fn link_update(request: &proto::UpdateLinkRequest) -> Result<LinkUpdate, Error> {
    use proto::update_link_request::Expiry as Wire;
    let expiry = match &request.expiry {
        None => None,
        Some(Wire::ExpiresAt(time)) => Some(expires_at(time)?),
        Some(Wire::ExpiresIn(time)) => Some(expires_in(time)?),
        Some(Wire::Never(true)) => Some(Expiry::Never),
        Some(Wire::Never(false)) => return Err(Error::field("never", NOT_FALSE)),
    };
    let file_name = request.file_name.as_deref().map(link::file_name).transpose()?.map(str::to_owned);
    Ok(LinkUpdate { expiry, file_name })
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
        expires_at: node.expires_at.map(timestamp),
        policy: (node.policy != Policy::NONE).then(|| from_policy(&node.policy)),
    }
}

fn from_policy(policy: &Policy) -> proto::FolderPolicy {
    proto::FolderPolicy {
        time_to_live: policy.time_to_live.map(|micros| prost_types::Duration {
            seconds: micros.div_euclid(1_000_000),
            nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
        }),
        max_files: policy.max_files,
        max_versions: policy.max_versions,
        skip_trash: policy.skip_trash,
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

pub(super) fn from_link(link: Link) -> proto::Link {
    proto::Link {
        link_id: link.id.to_string(),
        slug: link.slug.as_str().to_owned(),
        node_id: link.node.to_string(),
        created_at: Some(timestamp(link.created_at)),
        expires_at: link.expires_at.map(timestamp),
        etag: link.etag(),
        form: match link.form {
            Form::Short => proto::LinkForm::Short,
            Form::Code => proto::LinkForm::Code,
            Form::Hex => proto::LinkForm::Hex,
            Form::Token => proto::LinkForm::Token,
            Form::Uuid => proto::LinkForm::Uuid,
        }
        .into(),
        file_name: link.file_name,
        max_downloads: link.max_downloads,
        downloads: link.downloads,
        delete_key: link.delete_key.map(|key| key.reveal()).unwrap_or_default(),
        node: None,
    }
}

pub(super) fn from_linked_node(linked: LinkedNode) -> proto::Link {
    proto::Link { node: linked.node.map(from_node), ..from_link(linked.link) }
}

pub(super) fn from_entry(entry: Entry) -> proto::BufferEntry {
    proto::BufferEntry {
        entry_id: entry.id.to_string(),
        kind: match entry.name {
            Some(_) => proto::EntryKind::File,
            None => proto::EntryKind::Text,
        }
        .into(),
        name: entry.name.unwrap_or_default(),
        size: entry.size,
        digest: bytes::Bytes::copy_from_slice(&entry.digest.0),
        media_type: entry.media_type,
        device: entry.device,
        created_at: Some(timestamp(entry.created_at)),
        expires_at: Some(timestamp(entry.expires_at)),
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
            ChangeKind::Policy => proto::ChangeKind::Policy,
        }
        .into(),
        node_id: change.node.to_string(),
        version_id: change.version.map(|id| id.to_string()).unwrap_or_default(),
        device: change.device,
        created_at: Some(timestamp(change.created_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_positive_and_bounded() {
        let of = |seconds, nanos| lifetime("x", &prost_types::Duration { seconds, nanos });
        assert_eq!(of(1, 0), Ok(1_000_000));
        assert_eq!(of(0, 1_500_000), Ok(1_500));
        assert_eq!(of(0, 1), Ok(1), "rounded up");
        assert_eq!(of(policy::LONGEST / 1_000_000, 0), Ok(policy::LONGEST));
        for (seconds, nanos) in [
            (0, 0),
            (-1, 0),
            (0, -1),
            (2, -1),
            (0, 1_000_000_000),
            (policy::LONGEST / 1_000_000, 1),
            (i64::MAX, 999_999_999),
            (i64::MIN, 0),
        ] {
            assert!(of(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn policies_go_out_as_they_came_in() {
        let wire = proto::FolderPolicy {
            time_to_live: Some(prost_types::Duration { seconds: 7, nanos: 5_000 }),
            max_files: 1,
            max_versions: 2,
            skip_trash: true,
        };
        assert_eq!(from_policy(&policy(wire).unwrap()), wire);
        assert_eq!(policy(proto::FolderPolicy::default()), Ok(Policy::NONE));
    }
}
