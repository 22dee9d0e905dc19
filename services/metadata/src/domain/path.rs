//! Paths from the root of a space. They exist in requests only; nothing stores one.

use super::error::Error;
use super::name::{self, Name};

/// Most bytes of a path as sent.
pub const MAX_BYTES: usize = 4096;
/// Most names in a path, and so the deepest that a node can be; the root has depth 0.
pub const MAX_DEPTH: usize = 64;

/// Names from the root down; none is the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<Name>);

impl Path {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Splits a path at `/`. Slashes at either end do not count; an empty name between two slashes is refused.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::InvalidPath("must not be longer than 4096 bytes"));
        }
        let inner = text.trim_matches('/');
        if inner.is_empty() {
            return Ok(Self::root());
        }
        let names: Vec<Name> =
            inner.split('/').map(name::check).collect::<Result<_, _>>().map_err(|problem| {
                // The problem speaks of one name.
                Error::InvalidPath(match problem {
                    "must not be empty" => "must not contain two slashes in a row",
                    "must not be . or .." => "must not contain . or ..",
                    problem => problem,
                })
            })?;
        if names.len() > MAX_DEPTH {
            return Err(Error::InvalidPath("must not be deeper than 64 names"));
        }
        Ok(Self(names))
    }

    /// The names, from the root down.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        Path::parse(text).unwrap().0.into_iter().map(String::from).collect()
    }

    #[test]
    fn slashes_at_the_ends_do_not_count() {
        assert!(names("").is_empty());
        assert!(names("/").is_empty());
        assert!(names("///").is_empty());
        assert_eq!(names("a/b c/ü"), ["a", "b c", "ü"]);
        assert_eq!(names("/a/b/"), ["a", "b"]);
        assert_eq!(names("u\u{308}/x"), ["ü", "x"]);
    }

    #[test]
    fn bad_names_make_bad_paths() {
        let deep = "a/".repeat(65);
        let long = format!("{}b", "a/".repeat(2500));
        let name = "n".repeat(256);
        for path in ["a//b", ".", "a/../b", "a/./b", "..", "a\\b", "a/\u{7f}", &deep, &long, &name] {
            let result = Path::parse(path);
            assert!(matches!(result, Err(Error::InvalidPath(_))), "{path}: {result:?}");
        }
        assert_eq!(names(&"a/".repeat(64)).len(), 64);
    }
}
