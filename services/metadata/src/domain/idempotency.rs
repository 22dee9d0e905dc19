//! Recognising a repeated request.

use super::error::Error;
use super::id::UploadId;

/// Under what a request and its answer are remembered, unique within an account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// The caller's own key; `None` when it gave none.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        if text.len() > 255 {
            return Err(Error::field("idempotency_key", "must not be longer than 255 bytes"));
        }
        if text.contains('\0') {
            return Err(Error::field("idempotency_key", "must not contain a zero byte"));
        }
        Ok((!text.is_empty()).then(|| Self(format!("key:{text}"))))
    }

    /// The key of a commit of an upload: a receipt works once.
    #[must_use]
    pub fn upload(id: UploadId) -> Self {
        Self(format!("upload:{id}"))
    }

    /// A key as it was stored.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a request asks for, as a hash: BLAKE3 over the method and the fields that count, each with its length before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a call of `method` with `fields`, which are always as many and in the same order.
    #[must_use]
    pub fn of(method: &str, fields: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for field in std::iter::once(&method.as_bytes()).chain(fields) {
            hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_cannot_reach_the_keys_of_uploads() {
        let upload = UploadId::new(0);
        let text = Key::upload(upload).as_str().to_owned();
        assert_ne!(Key::parse(&text).unwrap().unwrap().as_str(), text);
    }

    #[test]
    fn keys_are_bounded() {
        assert!(Key::parse("").unwrap().is_none());
        assert!(Key::parse(&"k".repeat(255)).unwrap().is_some());
        assert!(Key::parse(&"k".repeat(256)).is_err());
        assert!(Key::parse("a\0b").is_err());
    }

    #[test]
    fn fields_do_not_run_into_one_another() {
        let of = |fields: &[&str]| {
            Fingerprint::of("m", &fields.iter().map(|field| field.as_bytes()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["ab", ""]), of(&["a", "b"]));
        assert_ne!(of(&["", "ab"]), of(&["a", "b"]));
        assert_ne!(Fingerprint::of("m", &[]), Fingerprint::of("n", &[]));
    }
}
