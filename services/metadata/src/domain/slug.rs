//! Slugs: what a link is opened with.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// A slug. Whoever has it can read the file, so it is never printed whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slug(String);

/// Most bytes of a slug.
const MAX_BYTES: usize = 256;
/// Most bytes of what can be put behind the random part.
const MAX_SUFFIX: usize = 64;

/// What the random part of a slug looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Form {
    /// 12 characters of `0-9A-Za-z`, 71 bits.
    #[default]
    Short,
    /// 10 characters of `a-zA-Z1-9-+=`, 60 bits.
    Code,
    /// 24 characters of `0-9a-f`, 96 bits.
    Hex,
    /// 64 characters of `a-zA-Z0-9`, 381 bits.
    Token,
    /// A UUID, version 4, 122 bits.
    Uuid,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 5] = [Self::Short, Self::Code, Self::Hex, Self::Token, Self::Uuid];

    /// Stands for it in stored rows and hashes.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Short => 1,
            Self::Code => 2,
            Self::Hex => 3,
            Self::Token => 4,
            Self::Uuid => 5,
        }
    }

    /// The form that a number stands for.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.number() == number)
    }

    /// How many characters the random part has.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Short => 12,
            Self::Code => 10,
            Self::Hex => 24,
            Self::Token => 64,
            Self::Uuid => uuid::fmt::Hyphenated::LENGTH,
        }
    }

    fn alphabet(self) -> &'static [u8] {
        match self {
            Self::Short | Self::Token => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            Self::Code => b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ123456789-+=",
            Self::Hex | Self::Uuid => b"0123456789abcdef",
        }
    }

    /// A letter for a random byte, each as likely as any other; `None` for bytes beyond the last whole multiple of the alphabet.
    fn letter(self, byte: u8) -> Option<char> {
        let alphabet = self.alphabet();
        let byte = usize::from(byte);
        (byte < 256 / alphabet.len() * alphabet.len())
            .then(|| alphabet.get(byte % alphabet.len()).copied().map(char::from))
            .flatten()
    }
}

impl Slug {
    /// A new slug from the system's random source, with `suffix` behind it.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new(form: Form, suffix: &str) -> Result<Self, getrandom::Error> {
        let length = form.length();
        let mut slug = String::with_capacity(length + suffix.len());
        if form == Form::Uuid {
            slug.push_str(&random_uuid()?.to_string());
        }
        let mut random = [0; 64];
        while slug.len() < length {
            getrandom::fill(&mut random)?;
            slug.extend(random.iter().filter_map(|&byte| form.letter(byte)).take(length - slug.len()));
        }
        slug.push_str(suffix);
        Ok(Self(slug))
    }

    /// Checks what is to stand behind a slug: at most 64 bytes, without slashes and control characters.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn suffix(text: &str) -> Result<&str, Error> {
        if text.len() > MAX_SUFFIX || text.contains('/') || text.chars().any(char::is_control) {
            return Err(Error::field(
                "slug_suffix",
                "must be at most 64 bytes without slashes and control characters",
            ));
        }
        Ok(text)
    }

    /// Reads a slug; `None` for what no link can have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=MAX_BYTES).contains(&text.len());
        (fits && !text.contains('/') && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The whole slug: for the store and the owner only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start: String = self.0.chars().take(4).collect();
        write!(f, "Slug({start}…)")
    }
}

/// A UUID, version 4, from the system's random source.
pub(super) fn random_uuid() -> Result<uuid::Uuid, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(uuid::Builder::from_random_bytes(random).into_uuid())
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn slugs_have_their_form_and_differ() {
        for form in Form::ALL {
            let slugs: HashSet<_> =
                (0..1000).map(|_| Slug::new(form, ".mp4").unwrap().as_str().to_owned()).collect();
            assert_eq!(slugs.len(), 1000);
            for slug in slugs {
                let random = slug.strip_suffix(".mp4").unwrap();
                assert_eq!(random.len(), form.length());
                if form == Form::Uuid {
                    assert_eq!(uuid::Uuid::parse_str(random).unwrap().get_version_num(), 4);
                } else {
                    assert!(random.bytes().all(|byte| form.alphabet().contains(&byte)), "{random}");
                }
                assert_eq!(Slug::parse(&slug).unwrap().as_str(), slug);
            }
            assert_eq!(Form::numbered(form.number()), Some(form));
        }
        assert_eq!(Form::numbered(0), None);
    }

    #[test]
    fn every_letter_is_as_likely() {
        for (form, letters) in [(Form::Short, 62), (Form::Code, 64), (Form::Hex, 16), (Form::Token, 62)] {
            let mut counts = HashMap::new();
            for byte in 0..=u8::MAX {
                if let Some(letter) = form.letter(byte) {
                    *counts.entry(letter).or_insert(0) += 1;
                }
            }
            assert_eq!(counts.len(), letters, "{form:?}");
            assert!(counts.values().all(|&count| count == 256 / letters), "{counts:?}");
        }
    }

    #[test]
    fn what_no_link_can_have_is_no_slug() {
        for text in ["", "a/b", "0123456789a\0", "a\nb", "\u{85}", &"x".repeat(257)] {
            assert_eq!(Slug::parse(text), None, "{text}");
        }
        for text in ["x", "ü.mp4", "a b", "..", &"x".repeat(256)] {
            assert_eq!(Slug::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn suffixes_are_short_and_break_no_path() {
        assert_eq!(Slug::suffix(""), Ok(""));
        assert_eq!(Slug::suffix(".tar.gz"), Ok(".tar.gz"));
        assert!(Slug::suffix(&"x".repeat(64)).is_ok());
        for bad in ["/x", "a\nb", "\u{7f}", &"x".repeat(65)] {
            assert!(Slug::suffix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_the_start_only() {
        assert_eq!(format!("{:?}", Slug::parse("abcdefghijkl").unwrap()), "Slug(abcd…)");
        assert_eq!(format!("{:?}", Slug::parse("ü").unwrap()), "Slug(ü…)");
    }
}
