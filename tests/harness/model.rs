//! The native API's JSON, as a client reads it: what is not known to the API's documentation fails a test.

use serde::Deserialize;

/// A folder or file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Stays the same for ever.
    pub node_id: String,
    /// The space it is in.
    pub space_id: String,
    /// The folder it is in; none for the root.
    pub parent_id: Option<String>,
    /// Empty for the root.
    pub name: String,
    /// `folder` or `file`.
    pub kind: String,
    /// Of the node; without quotes.
    pub etag: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub modified_at: String,
    /// RFC 3339, in the trash only.
    pub trashed_at: Option<String>,
    /// Files only.
    pub version: Option<Version>,
    /// RFC 3339; only where the file goes by itself.
    pub expires_at: Option<String>,
    /// Only where the folder has one.
    pub policy: Option<serde_json::Value>,
}

impl Node {
    /// The size of a file.
    pub fn size(&self) -> u64 {
        self.version.as_ref().expect("a file").size
    }

    /// The BLAKE3-256 of a file in hex.
    pub fn digest(&self) -> &str {
        &self.version.as_ref().expect("a file").digest
    }

    /// The media type of a file.
    pub fn media_type(&self) -> &str {
        &self.version.as_ref().expect("a file").media_type
    }
}

/// Content of a file at one time.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Names it.
    pub version_id: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3-256 in hex.
    pub digest: String,
    /// RFC 9110.
    pub media_type: String,
    /// Who wrote it.
    pub author_account_id: String,
    /// On which device; may be empty.
    pub device: String,
    /// RFC 3339.
    pub created_at: String,
    /// Of the content; without quotes.
    pub content_etag: String,
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one starts; none on the last.
    pub next_cursor: Option<String>,
    /// Of the change feed only: there is more to read at once.
    pub has_more: Option<bool>,
}

/// A tree and its quota.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Names it.
    pub space_id: String,
    /// Whose it is.
    pub owner_account_id: String,
    /// Its root folder.
    pub root_node_id: String,
    /// The most that may be used and reserved.
    pub quota_bytes: u64,
    /// All versions of all files.
    pub used_bytes: u64,
    /// Uploads under way.
    pub reserved_bytes: u64,
    /// The number of the latest change.
    pub change_sequence: u64,
}

/// A short link, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Names it.
    pub link_id: String,
    /// The secret of it.
    pub slug: String,
    /// The file.
    pub node_id: String,
    /// Its page, absolute.
    pub url: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; none for never.
    pub expires_at: Option<String>,
    /// What its bearer sees in place of the file's name.
    pub file_name: Option<String>,
    /// None for any number.
    pub max_downloads: Option<u32>,
    /// Where they are limited.
    pub downloads: Option<u32>,
    /// Without quotes.
    pub etag: String,
}

/// An entry of the change log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// 1, 2, 3, …
    pub sequence: u64,
    /// `created`, `content`, `moved`, `trashed`, `restored` or `purged`.
    pub kind: String,
    /// What changed.
    pub node_id: String,
    /// Its version since; none for folders.
    pub version_id: Option<String>,
    /// Who did it; may be empty.
    pub device: String,
    /// RFC 3339.
    pub created_at: String,
}
