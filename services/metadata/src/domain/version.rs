//! Versions: what a file held at one time.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::id::{AccountId, BlobId, VersionId};

/// Content of a file at one time. Never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Which one.
    pub id: VersionId,
    /// The number of the change that brought it: orders the versions of a file.
    pub sequence: u64,
    /// Where the bytes are.
    pub blob: BlobId,
    /// How many there are.
    pub size: u64,
    /// Their BLAKE3-256.
    pub digest: Digest,
    /// An RFC 9110 media type.
    pub media_type: String,
    /// Who wrote it.
    pub author: AccountId,
    /// The device it came from, as the client named it; may be empty.
    pub device: String,
    /// When it was committed; Unix microseconds.
    pub created_at: i64,
}

impl Version {
    /// A name for the content: equal content has an equal one, whatever the file. `b3-` and the digest in hexadecimal.
    #[must_use]
    pub fn content_etag(&self) -> String {
        format!("b3-{}", blake3::Hash::from_bytes(self.digest.0).to_hex())
    }
}

/// The BLAKE3-256 of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// A media type by the grammar of RFC 9110 §8.3.1, at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType(String);

impl MediaType {
    /// Checks a media type; empty text means `application/octet-stream`.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self("application/octet-stream".to_owned()));
        }
        if text.len() > 255 || !is_media_type(text) {
            return Err(Error::field(
                "media_type",
                "must be a media type of at most 255 bytes, such as text/plain",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `type/subtype` and any number of `; name=value`, the value a token or a quoted string.
fn is_media_type(text: &str) -> bool {
    let Some((kind, rest)) = text.split_once('/') else { return false };
    let (subtype, mut rest) = rest.split_at(rest.find([';', ' ', '\t']).unwrap_or(rest.len()));
    if !is_token(kind) || !is_token(subtype) {
        return false;
    }
    loop {
        rest = blanks(rest);
        let Some(parameter) = rest.strip_prefix(';') else { return rest.is_empty() };
        let parameter = blanks(parameter);
        // "foo;" and "foo; ; bar=1" are allowed by the grammar.
        if parameter.is_empty() || parameter.starts_with(';') {
            rest = parameter;
            continue;
        }
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let Some(end) = (if value.starts_with('"') { quoted(value) } else { Some(token_length(value)) })
        else {
            return false;
        };
        if !is_token(name) || end == 0 {
            return false;
        }
        rest = value.get(end..).unwrap_or_default();
    }
}

fn blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && token_length(text) == text.len()
}

fn token_length(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)).count()
}

/// The length of the quoted string that `text` starts with, quotes included. Printable ASCII only.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if !(b' '..=b'~').contains(&byte) => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// What a device calls itself: at most 100 characters, no controls.
///
/// # Errors
/// [`Error::InvalidField`].
pub fn device(text: &str) -> Result<&str, Error> {
    if text.len() > 400 || text.chars().count() > 100 {
        return Err(Error::field("device", "must not be longer than 100 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::field("device", "must not contain control characters"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_follow_the_grammar() {
        for text in [
            "text/plain",
            "text/plain; charset=utf-8",
            "text/plain;charset=\"utf-8\"",
            "application/vnd.oasis.opendocument.text",
            "image/svg+xml",
            "multipart/form-data; boundary=\"a b\\\"c\"; x=1",
            "a/b;",
            "a/b ; c=d ;; e=f",
            "TEXT/HTML",
        ] {
            assert_eq!(MediaType::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(MediaType::parse("").unwrap().as_str(), "application/octet-stream");
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        let long = format!("text/{}", "a".repeat(251));
        for text in [
            "text",
            "/",
            "text/",
            "/plain",
            "text/plain; charset",
            "text/plain; =x",
            "text/plain; charset=",
            "text/plain charset=utf-8",
            "text/pla in",
            "text/plain\r\nX-Evil: 1",
            "text/plain; a=\"b",
            "text/plain; a=\"\n\"",
            "text/plain; a=ü",
            "téxt/plain",
            "text/plain, text/html",
            "text/plain\0",
            " text/plain",
            "text/plain/x",
            &long,
        ] {
            assert!(MediaType::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn devices_are_short_and_printable() {
        assert_eq!(device(""), Ok(""));
        assert!(device(&"ü".repeat(100)).is_ok());
        assert!(device(&"🙂".repeat(100)).is_ok());
        assert!(device(&"a".repeat(101)).is_err());
        assert!(device("phone\n").is_err());
    }

    #[test]
    fn equal_content_has_an_equal_tag() {
        let version = |digest| Version {
            id: VersionId::new(0),
            sequence: 1,
            blob: BlobId::new(0),
            size: 1,
            digest: Digest(digest),
            media_type: String::new(),
            author: AccountId::new(0),
            device: String::new(),
            created_at: 0,
        };
        assert_eq!(version([1; 32]).content_etag(), version([1; 32]).content_etag());
        assert_ne!(version([1; 32]).content_etag(), version([2; 32]).content_etag());
        assert_eq!(version([0xab; 32]).content_etag(), format!("b3-{}", "ab".repeat(32)));
    }
}
