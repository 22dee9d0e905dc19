//! Short links.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::id::{LinkId, NodeId, SpaceId};

/// A slug: 12 characters of `0-9A-Za-z`, 71 random bits. Whoever has it can read the file, so it is never printed whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slug(String);

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 12;

impl Slug {
    /// A new slug from the system's random source.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut slug = String::with_capacity(LENGTH);
        let mut random = [0; 2 * LENGTH];
        while slug.len() < LENGTH {
            getrandom::fill(&mut random)?;
            slug.extend(random.iter().filter_map(|&byte| letter(byte)).take(LENGTH - slug.len()));
        }
        Ok(Self(slug))
    }

    /// Reads a slug; `None` for what no link can have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte)))
            .then(|| Self(text.to_owned()))
    }

    /// The whole slug: for the store and the owner only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.0.get(..4).unwrap_or_default();
        write!(f, "Slug({start}…)")
    }
}

/// A letter for a random byte, each as likely as any other; `None` for bytes beyond the last whole multiple of 62.
fn letter(byte: u8) -> Option<char> {
    (byte < 248).then(|| ALPHABET.get(usize::from(byte % 62)).copied().map(char::from)).flatten()
}

/// A link, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Which one.
    pub id: LinkId,
    /// The secret.
    pub slug: Slug,
    /// Whose it is.
    pub space: SpaceId,
    /// The file.
    pub node: NodeId,
    /// Unix microseconds.
    pub created_at: i64,
    /// When it stops working, in Unix microseconds; `None` for never.
    pub expires_at: Option<i64>,
    /// Counts its states, from 1.
    pub revision: u64,
}

impl Link {
    /// A name for this state of the link.
    #[must_use]
    pub fn etag(&self) -> String {
        let [.., a, b, c, d, e, f] = *self.id.as_bytes();
        format!("{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}-{:x}", self.revision)
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// An expiry that makes sense at `now`: in the future, or none.
///
/// # Errors
/// [`Error::InvalidField`].
pub fn expiry(at: Option<i64>, now: i64) -> Result<Option<i64>, Error> {
    match at {
        Some(at) if at <= now => Err(Error::field("expires_at", "must lie in the future")),
        at => Ok(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_have_their_form_and_differ() {
        let slugs: std::collections::HashSet<_> =
            (0..1000).map(|_| Slug::new().unwrap().as_str().to_owned()).collect();
        assert_eq!(slugs.len(), 1000);
        for slug in slugs {
            assert_eq!(Slug::parse(&slug).unwrap().as_str(), slug);
        }
    }

    #[test]
    fn every_letter_is_as_likely() {
        let mut counts = std::collections::HashMap::new();
        for byte in 0..=u8::MAX {
            if let Some(letter) = letter(byte) {
                *counts.entry(letter).or_insert(0) += 1;
            }
        }
        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|&count| count == 4), "{counts:?}");
    }

    #[test]
    fn what_no_link_can_have_is_no_slug() {
        for text in [
            "",
            "short",
            "0123456789abc",
            "0123456789a/",
            "0123456789a\0",
            "０１２３",
            "0123456789-_",
            "0123456789a ",
        ] {
            assert_eq!(Slug::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_shows_the_start_only() {
        let slug = Slug::parse("abcdefghijkl").unwrap();
        assert_eq!(format!("{slug:?}"), "Slug(abcd…)");
    }

    #[test]
    fn links_end_at_their_time() {
        assert_eq!(expiry(None, 5), Ok(None));
        assert_eq!(expiry(Some(6), 5), Ok(Some(6)));
        assert!(expiry(Some(5), 5).is_err());
    }
}
