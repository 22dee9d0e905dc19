//! Rows as domain values and back.

use std::str::FromStr;

use holdall_sql::Row;
use uuid::Uuid;

use super::{Error, Result};
use crate::domain::buffer::Entry;
use crate::domain::change::{Change, ChangeKind};
use crate::domain::link::{DeleteKey, Form, Link, Slug};
use crate::domain::node::{Kind, Node};
use crate::domain::policy::Policy;
use crate::domain::space::{Home, Space};
use crate::domain::version::{Digest, Version};

/// One text with all of `versions v`, for [`version`].
///
/// Every value of every row costs a copy, and every row a wake-up, on their way through the driver: one text is several times
/// as fast as its columns apart. No field can hold the separator U+001F, since all refuse control characters; `NULL` is empty.
macro_rules! version_text {
    () => {
        "format('%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s', v.version_id, v.sequence, v.blob_id, v.size, v.digest,
            v.media_type, v.author_id, v.device, v.created_at)"
    };
}

/// One text with all of `nodes n LEFT JOIN versions v`, for [`node`].
macro_rules! node_text {
    () => {
        "format('%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s',
            n.node_id, n.space_id, n.parent_id, n.name, n.kind, n.revision, n.created_at, n.modified_at, n.trashed_at,
            n.expires_at, n.policy, v.version_id, v.sequence, v.blob_id, v.size, v.digest, v.media_type, v.author_id, v.device, v.created_at)"
    };
}

/// One text with all of `links l`, for [`link`].
macro_rules! link_text {
    () => {
        "format('%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s', l.link_id, l.slug, l.form, l.space_id, l.node_id,
            l.created_at, l.expires_at, l.revision, l.file_name, l.max_downloads, l.downloads, l.delete_key)"
    };
}

/// One text with all of `buffer_entries b`, for [`entry`].
macro_rules! entry_text {
    () => {
        "format('%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s', b.entry_id, b.sequence, b.kind, b.name, b.blob_id,
            b.size, b.digest, b.media_type, b.device, b.created_at, b.expires_at)"
    };
}

pub(super) use {entry_text, link_text, node_text, version_text};

/// The fields of a text, one after another.
struct Fields<'t>(std::str::Split<'t, char>);

impl<'t> Fields<'t> {
    fn of(text: &'t str) -> Self {
        Self(text.split('\x1f'))
    }

    fn text(&mut self) -> Result<&'t str> {
        self.0.next().ok_or(Error::Corrupt("row"))
    }

    fn id<T: From<Uuid>>(&mut self) -> Result<T> {
        parse(self.text()?)
    }

    fn number<T: FromStr>(&mut self) -> Result<T> {
        self.text()?.parse().map_err(|_| Error::Corrupt("number"))
    }

    fn time(&mut self) -> Result<Option<i64>> {
        match self.text()? {
            "" => Ok(None),
            time => time.parse().map(Some).map_err(|_| Error::Corrupt("time")),
        }
    }

    fn digest(&mut self) -> Result<Digest> {
        let digest = blake3::Hash::from_hex(self.text()?).map_err(|_| Error::Corrupt("digest"))?;
        Ok(Digest(*digest.as_bytes()))
    }

    fn version(&mut self) -> Result<Version> {
        Ok(Version {
            id: self.id()?,
            sequence: self.number()?,
            blob: self.id()?,
            size: self.number()?,
            digest: self.digest()?,
            media_type: self.text()?.to_owned(),
            author: self.id()?,
            device: self.text()?.to_owned(),
            created_at: self.number()?,
        })
    }
}

/// Reads a node with its current version.
pub(super) fn node(text: &str) -> Result<Node> {
    let mut fields = Fields::of(text);
    let (id, space) = (fields.id()?, fields.id()?);
    let parent = fields.text()?;
    let name = fields.text()?.to_owned();
    let kind = match fields.text()? {
        "1" => Kind::Folder,
        "2" => Kind::File,
        _ => return Err(Error::Corrupt("kind of node")),
    };
    Ok(Node {
        id,
        space,
        parent: if parent.is_empty() { None } else { Some(parse(parent)?) },
        name,
        kind,
        revision: fields.number()?,
        created_at: fields.number()?,
        modified_at: fields.number()?,
        trashed_at: fields.time()?,
        expires_at: fields.time()?,
        policy: policy(fields.text()?)?,
        version: if kind == Kind::File { Some(fields.version()?) } else { None },
    })
}

/// Reads a version.
pub(super) fn version(text: &str) -> Result<Version> {
    Fields::of(text).version()
}

/// The stored form of a digest.
pub(super) fn digest_text(digest: &Digest) -> String {
    blake3::Hash::from_bytes(digest.0).to_hex().to_string()
}

/// Reads the policy of a folder; empty for nothing special.
pub(super) fn policy(text: &str) -> Result<Policy> {
    const CORRUPT: Error = Error::Corrupt("policy");
    if text.is_empty() {
        return Ok(Policy::NONE);
    }
    let mut numbers = text.split(' ').map(|number| number.parse::<i64>().map_err(|_| CORRUPT));
    let mut next = || numbers.next().ok_or(CORRUPT)?;
    let time_to_live = Some(next()?).filter(|&time| time > 0);
    let mut limit = || u32::try_from(next()?).map_err(|_| CORRUPT);
    Ok(Policy { time_to_live, max_files: limit()?, max_versions: limit()?, skip_trash: limit()? > 0 })
}

/// The stored form of a policy.
pub(super) fn policy_text(policy: &Policy) -> Option<String> {
    let Policy { time_to_live, max_files, max_versions, skip_trash } = policy;
    (*policy != Policy::NONE).then(|| {
        format!("{} {max_files} {max_versions} {}", time_to_live.unwrap_or_default(), u8::from(*skip_trash))
    })
}

/// Reads a link.
pub(super) fn link(text: &str) -> Result<Link> {
    let mut fields = Fields::of(text);
    Ok(Link {
        id: fields.id()?,
        slug: Slug::parse(fields.text()?).ok_or(Error::Corrupt("slug"))?,
        form: Form::numbered(fields.number()?).ok_or(Error::Corrupt("form"))?,
        space: fields.id()?,
        node: fields.id()?,
        created_at: fields.number()?,
        expires_at: fields.time()?,
        revision: fields.number()?,
        file_name: fields.text()?.to_owned(),
        max_downloads: fields.number()?,
        downloads: fields.number()?,
        delete_key: match fields.text()? {
            "" => None,
            key => Some(DeleteKey::parse(key).ok_or(Error::Corrupt("key"))?),
        },
    })
}

/// Reads an entry of a buffer.
pub(super) fn entry(text: &str) -> Result<Entry> {
    let mut fields = Fields::of(text);
    let (id, sequence) = (fields.id()?, fields.number()?);
    let is_file = fields.text()? == "2";
    let name = fields.text()?.to_owned();
    Ok(Entry {
        id,
        sequence,
        name: is_file.then_some(name),
        blob: fields.id()?,
        size: fields.number()?,
        digest: fields.digest()?,
        media_type: fields.text()?.to_owned(),
        device: fields.text()?.to_owned(),
        created_at: fields.number()?,
        expires_at: fields.number()?,
    })
}

/// Reads `sequence, kind, node_id, version_id, device, created_at`.
pub(super) fn change(row: &Row) -> Result<Change> {
    let version: Option<String> = row.get(3)?;
    Ok(Change {
        sequence: count(row, 0)?,
        kind: match row.get::<i64>(1)? {
            1 => ChangeKind::Created,
            2 => ChangeKind::Content,
            3 => ChangeKind::Moved,
            4 => ChangeKind::Trashed,
            5 => ChangeKind::Restored,
            6 => ChangeKind::Purged,
            7 => ChangeKind::Policy,
            _ => return Err(Error::Corrupt("kind of change")),
        },
        node: id(row, 2)?,
        version: version.map(|text| parse(&text)).transpose()?,
        device: row.get(4)?,
        created_at: row.get(5)?,
    })
}

/// Reads `quota_bytes, used_bytes, reserved_bytes, change_sequence`.
pub(super) fn space(row: &Row, home: &Home) -> Result<Space> {
    Ok(Space {
        id: home.space,
        owner: home.account,
        root: home.root,
        quota: count(row, 0)?,
        used: count(row, 1)?,
        reserved: count(row, 2)?,
        change_sequence: count(row, 3)?,
    })
}

/// The stored form of a kind of node.
pub(super) fn kind_number(kind: Kind) -> i64 {
    match kind {
        Kind::Folder => 1,
        Kind::File => 2,
    }
}

/// The stored form of a kind of change.
pub(super) fn change_number(kind: ChangeKind) -> i64 {
    match kind {
        ChangeKind::Created => 1,
        ChangeKind::Content => 2,
        ChangeKind::Moved => 3,
        ChangeKind::Trashed => 4,
        ChangeKind::Restored => 5,
        ChangeKind::Purged => 6,
        ChangeKind::Policy => 7,
    }
}

/// Values for `IN`, and their placeholders, numbered from `first`. The last value is repeated until there is a power of two
/// of them, so that few different statements are prepared.
pub(super) fn list(mut values: Vec<String>, first: usize) -> (Vec<String>, String) {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    let placeholders = holdall_sql::values(first, values.len(), 1);
    (values, placeholders)
}

/// Reads an id.
pub(super) fn id<T: From<Uuid>>(row: &Row, index: usize) -> Result<T> {
    parse(&row.get::<String>(index)?)
}

/// Reads a number that is never negative.
pub(super) fn count(row: &Row, index: usize) -> Result<u64> {
    u64::try_from(row.get::<i64>(index)?).map_err(|_| Error::Corrupt("number"))
}

/// The stored form of a number.
pub(super) fn int(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::Corrupt("number"))
}

fn parse<T: From<Uuid>>(text: &str) -> Result<T> {
    Uuid::try_parse(text).map(T::from).map_err(|_| Error::Corrupt("id"))
}

#[cfg(test)]
mod tests {
    use super::policy as read;
    use super::*;

    #[test]
    fn policies_are_read_as_they_were_written() {
        for policy in [
            Policy::NONE,
            Policy { time_to_live: Some(1), ..Policy::NONE },
            Policy { max_files: u32::MAX, ..Policy::NONE },
            Policy { max_versions: 7, ..Policy::NONE },
            Policy { skip_trash: true, ..Policy::NONE },
            Policy { time_to_live: Some(i64::MAX), max_files: 1, max_versions: 2, skip_trash: true },
        ] {
            let text = policy_text(&policy).unwrap_or_default();
            assert_eq!(read(&text).unwrap(), policy, "{text}");
        }
        for corrupt in ["x", "1", "1 2 3", "1 -2 3 0"] {
            assert!(read(corrupt).is_err(), "{corrupt}");
        }
    }
}
