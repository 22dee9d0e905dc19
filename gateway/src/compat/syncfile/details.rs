//! What is said about a folder or file.

use holdall_proto::metadata::v1::{Node, NodeKind};
use prost_types::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// A node as `getdetail` shows it; everything is text.
pub fn of(node: &Node, username: &str, path: &str) -> Value {
    let folder = is_folder(node);
    // The root is named after its owner, and its parent is called root.
    let (name, parent) = if node.parent_id.is_empty() {
        (username, "root".to_owned())
    } else {
        (node.name.as_str(), id(&node.parent_id))
    };
    json!({
        "id": id(&node.node_id),
        "parentid": parent,
        "type": kind(node),
        "size": size(node).to_string(),
        "createdate": date(&node.created_at),
        "creator": username,
        "filename": if folder { "" } else { name },
        "foldername": if folder { name } else { "" },
        "path": path,
    })
}

/// A node as one of a list, for clients that keep a copy.
#[derive(Debug, Serialize)]
pub struct Item {
    name: String,
    /// With the owner's name before it, as in `getdetail`.
    path: String,
    r#type: &'static str,
    size: String,
    id: String,
    modified: String,
}

impl Item {
    /// The item for a node.
    pub fn new(node: Node, path: String) -> Self {
        Self {
            path,
            r#type: kind(&node),
            size: size(&node).to_string(),
            id: id(&node.node_id),
            modified: date(&node.modified_at),
            name: node.name,
        }
    }

    /// The name of the node.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether the node is a folder.
pub fn is_folder(node: &Node) -> bool {
    node.kind() == NodeKind::Folder
}

fn kind(node: &Node) -> &'static str {
    if is_folder(node) { "folder" } else { "file" }
}

/// Folders have none.
fn size(node: &Node) -> u64 {
    node.version.as_ref().map_or(0, |version| version.size)
}

/// An id of ours as the original writes them.
fn id(uuid: &str) -> String {
    uuid.replace('-', "x")
}

fn date(time: &Option<Timestamp>) -> String {
    format!("{} UTC", date_and_time(&time.unwrap_or_default()))
}

/// `2026-11-22 00:29:46`, in UTC.
pub fn date_and_time(time: &Timestamp) -> String {
    // As of RFC 3339: 2026-11-22T00:29:46.5Z.
    let text = time.to_string();
    let part = |from, to| text.get(from..to).unwrap_or_default();
    format!("{} {}", part(0, 10), part(11, 19))
}

#[cfg(test)]
mod tests {
    use holdall_proto::metadata::v1::Version;

    use super::*;

    fn node(kind: NodeKind) -> Node {
        Node {
            node_id: "0193-aa".to_owned(),
            parent_id: "0193-bb".to_owned(),
            name: "book".to_owned(),
            kind: kind.into(),
            created_at: Some(Timestamp { seconds: 1_795_307_385, nanos: 123_000_000 }),
            ..Node::default()
        }
    }

    #[test]
    fn folders_and_files_are_told_apart() {
        assert_eq!(
            of(&node(NodeKind::Folder), "u1", "u1/book"),
            json!({
                "id": "0193xaa", "parentid": "0193xbb", "type": "folder", "size": "0",
                "createdate": "2026-11-22 00:29:45 UTC", "creator": "u1", "filename": "", "foldername": "book",
                "path": "u1/book",
            })
        );
        let version = Some(Version { size: 7, ..Version::default() });
        let file = of(&Node { version, ..node(NodeKind::File) }, "u1", "u1/book");
        assert_eq!(
            (&file["type"], &file["size"], &file["filename"], &file["foldername"]),
            (&json!("file"), &json!("7"), &json!("book"), &json!(""))
        );
    }

    #[test]
    fn the_root_is_named_after_its_owner() {
        let root = Node { parent_id: String::new(), name: String::new(), ..node(NodeKind::Folder) };
        let details = of(&root, "u1", "u1");
        assert_eq!((&details["parentid"], &details["foldername"]), (&json!("root"), &json!("u1")));
    }

    #[test]
    fn times_have_seconds() {
        assert_eq!(date_and_time(&Timestamp { seconds: 0, nanos: 5 }), "1970-01-01 00:00:00");
    }
}
