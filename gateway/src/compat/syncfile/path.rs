//! Paths as this API writes them: names joined by `/` or `\`.

use holdall_proto::metadata::v1::NodeRef;

use crate::error::{Code, Result};
use crate::ops::nodes;

/// What stands for the caller's root where a folder is named.
const ROOT: &str = "root";

/// A path from the caller's root to something below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePath {
    /// Names joined by `/`, none of them empty, `.` or `..`.
    path: String,
}

/// Where a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The caller's root.
    Root,
    /// Below it.
    Below(NodePath),
}

/// Whether the path is none, or ends in a separator.
pub fn ends_in_separator(text: &str) -> bool {
    text.is_empty() || text.ends_with(['/', '\\'])
}

impl NodePath {
    /// Reads a path. Nothing is trimmed or resolved: a path with a name that is empty, `.` or `..` leads nowhere.
    ///
    /// # Errors
    /// [`Code::InvalidPath`]; what else is wrong with a name is for metadata to say.
    pub fn parse(text: &str) -> Result<Self> {
        let path = text.replace('\\', "/");
        if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(Code::InvalidPath.into());
        }
        Ok(Self { path })
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.split().1
    }

    /// The folder that it lies in.
    pub fn parent(&self) -> Place {
        match self.split().0 {
            Some(parent) => Place::Below(Self { path: parent.to_owned() }),
            None => Place::Root,
        }
    }

    fn split(&self) -> (Option<&str>, &str) {
        match self.path.rsplit_once('/') {
            Some((parent, name)) => (Some(parent), name),
            None => (None, &self.path),
        }
    }

    /// The path, with `/` between the names.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The node there.
    pub fn node(&self) -> NodeRef {
        nodes::by_path(self.path.clone())
    }
}

impl Place {
    /// Reads the path of a folder, in which `root` alone stands for the root.
    ///
    /// # Errors
    /// As [`NodePath::parse`].
    pub fn parse(text: &str) -> Result<Self> {
        if text == ROOT { Ok(Self::Root) } else { NodePath::parse(text).map(Self::Below) }
    }

    /// Whether `name` in this folder could not be told from the root afterwards.
    pub fn hides(&self, name: &str) -> bool {
        *self == Self::Root && name == ROOT
    }

    /// The path with the caller's name before it, as the original shows it.
    pub fn shown(&self, username: &str) -> String {
        match self {
            Self::Root => username.to_owned(),
            Self::Below(path) => format!("{username}/{}", path.as_str()),
        }
    }

    /// The folder there.
    pub fn node(&self) -> NodeRef {
        match self {
            Self::Root => nodes::ROOT,
            Self::Below(path) => path.node(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_separators_separate() {
        for text in ["a/b/c.txt", r"a\b\c.txt", r"a\b/c.txt"] {
            let path = NodePath::parse(text).unwrap();
            assert_eq!((path.as_str(), path.name()), ("a/b/c.txt", "c.txt"));
            assert_eq!(path.parent(), Place::Below(NodePath::parse("a/b").unwrap()));
        }
        assert_eq!(NodePath::parse("a").unwrap().parent(), Place::Root);
        assert_eq!(NodePath::parse(" a .").unwrap().as_str(), " a .");
    }

    #[test]
    fn nothing_walks() {
        for text in [
            "",
            "/",
            "\\",
            ".",
            "..",
            "/a",
            "a/",
            "a//b",
            "a/../b",
            r"..\b",
            "a/.",
            "../../evil",
            "/etc/passwd",
        ] {
            assert_eq!(NodePath::parse(text).map_err(|error| error.code), Err(Code::InvalidPath), "{text}");
        }
    }

    #[test]
    fn the_root_has_a_name() {
        assert_eq!(Place::parse("root").unwrap(), Place::Root);
        assert_eq!(Place::parse("root/a").unwrap().shown("u1"), "u1/root/a");
        assert_eq!(Place::Root.shown("u1"), "u1");
        assert!(Place::Root.hides("root") && !Place::Root.hides("rooted"));
        assert!(!Place::parse("a").unwrap().hides("root"));
    }
}
