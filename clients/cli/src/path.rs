//! Paths on the server.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use unicode_normalization::UnicodeNormalization as _;

use crate::error::{Error, Result};

/// Everything but the unreserved characters of RFC 3986, section 2.3.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path on the server: names from the topmost folder down, in Unicode normal form C as the server keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePath {
    names: Vec<String>,
    folder: bool,
}

impl RemotePath {
    /// Reads what was typed. Slashes at the start and repeated ones do not matter; one at the end says that a folder is
    /// meant.
    ///
    /// # Errors
    /// [`Error::Usage`] for the names `.` and `..`: no file can be called so, and in a URL they would climb.
    pub fn parse(text: &str) -> Result<Self> {
        let names: Vec<String> =
            text.split('/').filter(|name| !name.is_empty()).map(|name| name.nfc().collect()).collect();
        if names.iter().any(|name| name == "." || name == "..") {
            return Err(Error::Usage("a remote path has no . or .. in it".to_owned()));
        }
        Ok(Self { folder: names.is_empty() || text.ends_with('/'), names })
    }

    /// Whether it can only be a folder: it ended in a slash, or is the topmost one.
    pub fn is_folder(&self) -> bool {
        self.folder
    }

    /// Whether it is the topmost folder.
    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// Its last name; `None` for the topmost folder.
    pub fn name(&self) -> Option<&str> {
        self.names.last().map(String::as_str)
    }

    /// The folder above it.
    pub fn parent(&self) -> Self {
        let mut names = self.names.clone();
        names.pop();
        Self { names, folder: true }
    }

    /// What is called so inside it.
    pub fn join(&self, name: &str) -> Self {
        let mut names = self.names.clone();
        names.push(name.nfc().collect());
        Self { names, folder: false }
    }

    /// As it stands in a URL after `/fs`: with a slash before each name, each name encoded by itself.
    pub fn encoded(&self) -> String {
        self.names.iter().fold(String::new(), |mut url, name| {
            url.push('/');
            url.extend(utf8_percent_encode(name, NAME));
            url
        })
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() { f.write_str("/") } else { f.write_str(&self.names.join("/")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text).unwrap()
    }

    #[test]
    fn slashes_only_separate() {
        assert_eq!(path("/a//b").encoded(), "/a/b");
        assert_eq!(path("a/b").to_string(), "a/b");
        assert!(!path("a/b").is_folder());
        assert!(path("a/b/").is_folder());
        for root in ["", "/", "//"] {
            assert!(path(root).is_root() && path(root).is_folder());
            assert_eq!(path(root).encoded(), "");
            assert_eq!(path(root).to_string(), "/");
        }
    }

    #[test]
    fn names_are_encoded_one_by_one() {
        assert_eq!(path("a b/ü?#%.txt").encoded(), "/a%20b/%C3%BC%3F%23%25.txt");
        assert_eq!(path("💾").encoded(), "/%F0%9F%92%BE");
        assert_eq!(path("a\\b").encoded(), "/a%5Cb");
        assert_eq!(path("A-b_c.d~e").encoded(), "/A-b_c.d~e");
        assert_eq!(path("u\u{308}").join("u\u{308}"), path("ü/ü"));
    }

    #[test]
    fn a_url_keeps_the_path_as_it_is() {
        for name in ["%2e%2e", "...", "a..b", ".hidden", "%", "a:b", "&=+"] {
            let url = url::Url::parse(&format!("http://x/fs{}", path(name).encoded())).unwrap();
            let sent = url.path().strip_prefix("/fs/").unwrap();
            assert_eq!(percent_encoding::percent_decode_str(sent).decode_utf8().unwrap(), name);
        }
    }

    #[test]
    fn dots_do_not_climb() {
        for bad in ["..", ".", "a/../b", "./a", "a/."] {
            assert!(RemotePath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_taken_apart_and_put_together() {
        let beach = path("photos/beach.jpg");
        assert_eq!(beach.name(), Some("beach.jpg"));
        assert_eq!(beach.parent(), path("photos/"));
        assert_eq!(beach.parent().join("beach.jpg"), beach);
        assert_eq!(path("").name(), None);
        assert!(path("a").parent().is_root());
    }
}
