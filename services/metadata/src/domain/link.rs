//! Links.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::id::{LinkId, NodeId, SpaceId};
pub use super::slug::{Form, Slug};

/// A link, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Which one.
    pub id: LinkId,
    /// The secret.
    pub slug: Slug,
    /// What the slug looks like.
    pub form: Form,
    /// Whose it is.
    pub space: SpaceId,
    /// The file.
    pub node: NodeId,
    /// Unix microseconds.
    pub created_at: i64,
    /// When it stops working, in Unix microseconds; `None` for never.
    pub expires_at: Option<i64>,
    /// Counts its states, from 1. Downloads do not make another.
    pub revision: u64,
    /// What its bearer sees in place of the file's name; empty for that.
    pub file_name: String,
    /// How many downloads it is good for; 0 for any number.
    pub max_downloads: u32,
    /// Downloads so far; counted only where they are limited.
    pub downloads: u32,
    /// Who has it can delete the file.
    pub delete_key: Option<DeleteKey>,
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

    /// Whether its downloads are counted.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.max_downloads > 0
    }

    /// Whether it has had all the downloads that it is good for.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.is_limited() && self.downloads >= self.max_downloads
    }
}

/// How a new link is to be. The default is short and for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewLink {
    /// What its slug looks like.
    pub form: Form,
    /// Ends the slug; see [`Slug::suffix`].
    pub suffix: String,
    /// When it is to stop working.
    pub expiry: Expiry,
    /// See [`Link::file_name`].
    pub file_name: String,
    /// See [`Link::max_downloads`].
    pub max_downloads: u32,
    /// Whether it gets a delete key.
    pub deletable: bool,
}

impl NewLink {
    /// What was asked for, as bytes: equal for equal requests, whenever they are made.
    #[must_use]
    pub fn asked(&self) -> Vec<u8> {
        let (kind, time) = match self.expiry {
            Expiry::Never => (0, 0),
            Expiry::At(at) => (1, at),
            Expiry::In(time) => (2, time),
        };
        let mut asked = vec![self.form.number(), kind, u8::from(self.deletable)];
        asked.extend(time.to_le_bytes());
        asked.extend(self.max_downloads.to_le_bytes());
        // Neither text has a control character.
        asked.extend(self.suffix.bytes().chain([0]).chain(self.file_name.bytes()));
        asked
    }

    /// The link, with a slug and a key that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn make(&self, node: NodeId, space: SpaceId, now: i64) -> Result<Link, getrandom::Error> {
        Ok(Link {
            id: LinkId::new(now),
            slug: Slug::new(self.form, &self.suffix)?,
            form: self.form,
            space,
            node,
            created_at: now,
            expires_at: self.expiry.time(now),
            revision: 1,
            file_name: self.file_name.clone(),
            max_downloads: self.max_downloads,
            downloads: 0,
            delete_key: self.deletable.then(DeleteKey::new).transpose()?,
        })
    }
}

/// When a link is to stop working, as it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Not at all.
    #[default]
    Never,
    /// At this time, in Unix microseconds.
    At(i64),
    /// After so many microseconds.
    In(i64),
}

impl Expiry {
    /// Passes for an expiry that makes sense at `now`: in the future, or none.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn check(&self, now: i64) -> Result<(), Error> {
        match self {
            Self::At(at) if *at <= now => Err(Error::field("expires_at", "must lie in the future")),
            Self::In(time) if *time <= 0 => Err(Error::field("expires_in", "must be positive")),
            _ => Ok(()),
        }
    }

    /// The time, counted from `now`; `None` for never.
    #[must_use]
    pub fn time(&self, now: i64) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(*at),
            Self::In(time) => Some(now.saturating_add(*time)),
        }
    }

    /// The earliest expiry that leaves at least half of the time, counted from `now`; `None` when only "never" does.
    #[must_use]
    pub fn half(&self, now: i64) -> Option<i64> {
        let whole = self.time(now)?.saturating_sub(now);
        // Half an odd number of microseconds is rounded up.
        Some(now.saturating_add(whole / 2 + whole % 2))
    }
}

/// What is to change about a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkUpdate {
    /// Another expiry; `None` to keep it.
    pub expiry: Option<Expiry>,
    /// Another name for the file; `None` to keep it.
    pub file_name: Option<String>,
}

/// A key that deletes the file of a link: a UUID, version 4. It is never printed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeleteKey(uuid::Uuid);

impl DeleteKey {
    fn new() -> Result<Self, getrandom::Error> {
        Ok(Self(super::slug::random_uuid()?))
    }

    /// Reads a key; `None` for what no link can have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != uuid::fmt::Hyphenated::LENGTH {
            return None;
        }
        uuid::Uuid::try_parse(text).ok().map(Self)
    }

    /// Whether it is the key that somebody shows. Takes as long whatever is wrong with that.
    #[must_use]
    pub fn is(&self, shown: &Self) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_bytes().ct_eq(shown.0.as_bytes()).into()
    }

    /// The whole key: for the store and the owner only.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.0.to_string()
    }
}

impl std::fmt::Debug for DeleteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeleteKey(…)")
    }
}

/// What a link may call the file: at most 1,024 bytes without control characters; empty for the file's own name.
///
/// # Errors
/// [`Error::InvalidField`].
pub fn file_name(text: &str) -> Result<&str, Error> {
    if text.len() > 1024 || text.chars().any(char::is_control) {
        return Err(Error::field("file_name", "must be at most 1024 bytes without control characters"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_end_at_their_time() {
        assert_eq!(Expiry::Never.check(5), Ok(()));
        assert_eq!(Expiry::At(6).check(5), Ok(()));
        assert_eq!(Expiry::In(1).check(5), Ok(()));
        for bad in [Expiry::At(5), Expiry::At(i64::MIN), Expiry::In(0), Expiry::In(-1)] {
            assert!(bad.check(5).is_err(), "{bad:?}");
        }
        assert_eq!(Expiry::Never.time(5), None);
        assert_eq!(Expiry::At(6).time(5), Some(6));
        assert_eq!(Expiry::In(6).time(5), Some(11));
    }

    #[test]
    fn half_of_the_time_is_enough_and_no_less() {
        assert_eq!(Expiry::Never.half(100), None);
        assert_eq!(Expiry::In(10).half(100), Some(105));
        assert_eq!(Expiry::In(11).half(100), Some(106));
        assert_eq!(Expiry::At(110).half(100), Some(105));
    }

    #[test]
    fn a_retry_asks_for_the_same_and_another_request_for_something_else() {
        let ask = |change: fn(&mut NewLink)| {
            let mut new = NewLink::default();
            change(&mut new);
            new.asked()
        };
        let all = [
            ask(|_| {}),
            ask(|new| new.form = Form::Hex),
            ask(|new| new.expiry = Expiry::At(7)),
            ask(|new| new.expiry = Expiry::In(7)),
            ask(|new| new.suffix = "ab".to_owned()),
            ask(|new| new.file_name = "ab".to_owned()),
            ask(|new| (new.suffix, new.file_name) = ("a".to_owned(), "b".to_owned())),
            ask(|new| new.max_downloads = 1),
            ask(|new| new.deletable = true),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(ask(|new| new.expiry = Expiry::In(7)), all[3]);
    }

    #[test]
    fn only_the_key_itself_is_the_key() {
        let key = DeleteKey::new().unwrap();
        let text = key.reveal();
        assert_eq!(text.as_bytes()[14], b'4', "version 4");
        assert!(key.is(&DeleteKey::parse(&text).unwrap()));
        assert!(key.is(&DeleteKey::parse(&text.to_uppercase()).unwrap()));
        assert!(!key.is(&DeleteKey::new().unwrap()));
        for wrong in ["", "x", &text[1..], &format!("{text}0"), &text.replace('-', "")] {
            assert!(DeleteKey::parse(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{key:?}").contains(&text[..4]));
    }

    #[test]
    fn used_up_links_had_all_their_downloads() {
        let new = NewLink { max_downloads: 2, ..NewLink::default() };
        let mut link = new.make(NodeId::new(0), SpaceId::new(0), 0).unwrap();
        assert!(link.is_limited() && !link.is_used_up());
        link.downloads = 2;
        assert!(link.is_used_up());
        link.max_downloads = 0;
        assert!(!link.is_limited() && !link.is_used_up());
    }

    #[test]
    fn file_names_are_bounded() {
        assert_eq!(file_name(""), Ok(""));
        assert_eq!(file_name("a/b c.txt"), Ok("a/b c.txt"));
        assert!(file_name(&"x".repeat(1024)).is_ok());
        for bad in ["a\nb", "\u{85}", &"x".repeat(1025)] {
            assert!(file_name(bad).is_err());
        }
    }
}
