//! Where things are: directories as this API names them, and the folders in which the original kept files.

use md5::{Digest, Md5};
use unicode_normalization::UnicodeNormalization;

use crate::ops::Caller;

/// A directory of a user's: the names from the root of the user's tree down to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    username: String,
    names: Vec<String>,
}

impl Directory {
    /// The user's root.
    pub fn root(user: &Caller) -> Self {
        Self { username: user.account().username.clone(), names: Vec::new() }
    }

    /// The directory that a client names: from the username on, with or without a slash before it, or else from the user's
    /// root. Whether its names are good ones is for metadata to say, which walks to none that is not.
    ///
    /// `named` is the user's name as it stands in the call.
    pub fn parse(user: &Caller, named: &str, text: &str) -> Self {
        Self::below(&user.account().username, named, text)
    }

    /// The directory at a path from the user's root.
    pub fn at(user: &Caller, path: &str) -> Self {
        Self { username: user.account().username.clone(), names: names(path).collect() }
    }

    fn below(username: &str, named: &str, text: &str) -> Self {
        let named: String = named.nfc().collect();
        let mut names: Vec<String> = names(text).collect();
        if names.first().is_some_and(|first| first == username || *first == named) {
            names.remove(0);
        }
        Self { username: username.to_owned(), names }
    }

    /// Whether it is the user's root.
    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// Its own name; the user's for the root.
    pub fn name(&self) -> &str {
        self.names.last().unwrap_or(&self.username)
    }

    /// Its path from the root, for metadata.
    pub fn path(&self) -> String {
        self.names.join("/")
    }

    /// The path from the root of what is called `name` in it; `None` when that is no name but a path.
    pub fn path_of(&self, name: &str) -> Option<String> {
        if name.is_empty() || name.contains(['/', '\\']) {
            return None;
        }
        let parts = self.names.iter().map(String::as_str).chain([name]);
        Some(parts.collect::<Vec<_>>().join("/"))
    }

    /// As clients are told of it: `alice/docs`.
    pub fn shown(&self) -> String {
        self.ancestors().pop().map(|(_, path)| path).unwrap_or_default()
    }

    /// The root and every directory down to this one, by name and path. As in the dictionary that this becomes, a name that
    /// comes again has its first place and its last path.
    pub fn dictionary(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, path) in self.ancestors() {
            match pairs.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = path,
                None => pairs.push((name, path)),
            }
        }
        pairs
    }

    fn ancestors(&self) -> Vec<(String, String)> {
        let mut path = String::new();
        let names = [&self.username].into_iter().chain(&self.names);
        names
            .map(|name| {
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(name);
                (name.clone(), path.clone())
            })
            .collect()
    }

    /// The two folders that stand for a file called `name` in this directory: the first four digits of the MD5 of its path.
    pub fn digits_of(&self, name: &str) -> (String, String) {
        let path: String = format!("{}/{name}", self.shown()).nfc().collect();
        let digest: [u8; 16] = Md5::digest(path).into();
        let [first, second, ..] = digest;
        (format!("{first:02x}"), format!("{second:02x}"))
    }

    /// The folder in which the original would keep a file called `name` of this directory: `alice/eb/c7`.
    pub fn storage_of(&self, name: &str) -> String {
        let (first, second) = self.digits_of(name);
        format!("{}/{first}/{second}", self.username)
    }
}

/// The names in a path, in the form in which they are stored. Slashes are only between names, however many.
fn names(text: &str) -> impl Iterator<Item = String> {
    text.split('/').filter(|name| !name.is_empty()).map(|name| name.nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(text: &str) -> Directory {
        Directory::below("alice", "Alice", text)
    }

    #[test]
    fn directories_start_at_the_username_or_below_it() {
        for root in ["", "/", "alice", "/alice", "alice/", "Alice"] {
            assert!(directory(root).is_root(), "{root}");
            assert_eq!(directory(root).shown(), "alice");
        }
        for docs in
            ["alice/docs", "/alice/docs", "/alice/docs/", "Alice/docs", "docs", "/docs", "alice//docs"]
        {
            assert_eq!(
                (directory(docs).path(), directory(docs).shown().as_str()),
                ("docs".to_owned(), "alice/docs")
            );
        }
        assert_eq!(directory("alice/alice").path(), "alice");
        assert_eq!(directory("alice2").path(), "alice2");
        assert_eq!(directory("bob/alice").path(), "bob/alice");
    }

    #[test]
    fn nothing_walks() {
        assert_eq!(directory("../../x").path(), "../../x");
        assert_eq!(directory("alice/../x").path(), "../x");
        assert_eq!(directory("docs").path_of("../x.txt"), None);
        assert_eq!(directory("docs").path_of("/x.txt"), None);
        assert_eq!(directory("docs").path_of("..\\x.txt"), None);
        assert_eq!(directory("docs").path_of(""), None);
        assert_eq!(directory("docs").path_of("..").as_deref(), Some("docs/.."));
        assert_eq!(directory("").path_of("x.txt").as_deref(), Some("x.txt"));
    }

    #[test]
    fn dictionaries_are_in_order_and_keep_a_name_once() {
        let shown = |text: &str| {
            let pairs = directory(text).dictionary();
            pairs.into_iter().map(|(name, path)| format!("{name}={path}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown("alice/z/a"), "alice=alice z=alice/z a=alice/z/a");
        assert_eq!(shown(""), "alice=alice");
        assert_eq!(shown("d/e/d"), "alice=alice d=alice/d/e/d e=alice/d/e");
    }

    #[test]
    fn files_are_kept_where_the_original_kept_them() {
        assert_eq!(directory("alice").storage_of("words.txt"), "alice/eb/c7");
        assert_eq!(directory("").storage_of("words(1).txt"), "alice/85/d7");
        assert_eq!(directory("/alice/docs").storage_of("a.pdf"), "alice/b8/b9");
    }

    #[test]
    fn names_are_compared_in_the_form_in_which_they_are_stored() {
        let decomposed = directory("a\u{308}");
        assert_eq!(decomposed, directory("ä"));
        assert!(Directory::below("ä", "a\u{308}", "a\u{308}").is_root());
    }
}
