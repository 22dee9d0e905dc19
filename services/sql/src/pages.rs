//! Page sizes and page tokens for list calls ([AIP-158](https://google.aip.dev/158)).
//!
//! A token holds where the next page starts. It is sealed, so that nobody can make one, or use one of another
//! list, order or account.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

/// Bytes of the seal: a keyed BLAKE3 hash, cut.
const SEAL: usize = 16;

/// Longer tokens are refused unread.
const LONGEST: usize = 8192;

/// A token that this service did not make for this list, or a position of another shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page token is not valid here")]
pub struct InvalidPageToken;

/// A page size below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a page size is not negative")]
pub struct NegativePageSize;

/// Makes and reads page tokens.
#[derive(Clone)]
pub struct Pager {
    key: [u8; 32],
}

impl Pager {
    /// A pager whose tokens hold as long as `key` does; replicas share it. The seal's key is derived from it.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key: blake3::derive_key("holdall 2026 page tokens", &key) }
    }

    /// The token for the page that starts after `position`.
    ///
    /// `scope` names everything that the position depends on: the list, its order and filter, and whose it
    /// is. A token is not secret: what is in `position` can be read by its holder.
    ///
    /// # Errors
    /// When `position` cannot be JSON (a map whose keys are not strings): a mistake in the program.
    pub fn encode(&self, scope: &str, position: &impl Serialize) -> Result<String, serde_json::Error> {
        let position = serde_json::to_vec(position)?;
        let mut token = self.seal(scope, &position).to_vec();
        token.extend_from_slice(&position);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// The position in a token that was made for `scope`.
    ///
    /// # Errors
    /// [`InvalidPageToken`] for anything else. Callers answer `INVALID_ARGUMENT`.
    pub fn decode<T: DeserializeOwned>(&self, scope: &str, token: &str) -> Result<T, InvalidPageToken> {
        if token.len() > LONGEST {
            return Err(InvalidPageToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidPageToken)?;
        let (seal, position) = bytes.split_at_checked(SEAL).ok_or(InvalidPageToken)?;
        if !bool::from(self.seal(scope, position).ct_eq(seal)) {
            return Err(InvalidPageToken);
        }
        serde_json::from_slice(position).map_err(|_| InvalidPageToken)
    }

    fn seal(&self, scope: &str, position: &[u8]) -> [u8; SEAL] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // The length keeps the end of a scope and the start of a position apart.
        hasher.update(&(scope.len() as u64).to_le_bytes()).update(scope.as_bytes()).update(position);
        let mut seal = [0; SEAL];
        hasher.finalize_xof().fill(&mut seal);
        seal
    }
}

/// How many items a page has: `requested`, but at most `most`; `default` where 0 was requested, which is to
/// say nothing.
///
/// # Errors
/// [`NegativePageSize`]. Callers answer `INVALID_ARGUMENT`.
pub fn page_size(requested: impl Into<i64>, default: u32, most: u32) -> Result<u32, NegativePageSize> {
    match requested.into() {
        0 => Ok(default.min(most)),
        size if size < 0 => Err(NegativePageSize),
        size => Ok(u32::try_from(size).map_or(most, |size| size.min(most))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Position = (String, i64);

    fn position() -> Position {
        ("Grüße, \"x\".txt".to_owned(), -7)
    }

    #[test]
    fn a_token_leads_back_to_its_position() {
        let pager = Pager::new([7; 32]);
        let token = pager.encode("children/1/name", &position()).unwrap();
        assert!(
            token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'),
            "{token}"
        );
        assert_eq!(pager.decode("children/1/name", &token), Ok(position()));
        // Another replica with the same key.
        assert_eq!(Pager::new([7; 32]).decode("children/1/name", &token), Ok(position()));
    }

    #[test]
    fn a_token_of_another_list_or_key_is_refused() {
        let pager = Pager::new([7; 32]);
        let token = pager.encode("children/1/name", &position()).unwrap();
        for scope in ["children/2/name", "children/1/time", "children/1/nam", "children/1/name ", ""] {
            assert_eq!(pager.decode::<Position>(scope, &token), Err(InvalidPageToken), "{scope}");
        }
        assert_eq!(Pager::new([8; 32]).decode::<Position>("children/1/name", &token), Err(InvalidPageToken));
    }

    #[test]
    fn the_border_between_scope_and_position_counts() {
        let pager = Pager::new([7; 32]);
        let token = pager.encode("a", &11).unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        bytes.remove(SEAL);
        assert_eq!(pager.decode::<i64>("a1", &URL_SAFE_NO_PAD.encode(bytes)), Err(InvalidPageToken));
    }

    #[test]
    fn every_changed_or_cut_token_is_refused() {
        let pager = Pager::new([7; 32]);
        let token = pager.encode("list", &position()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[index] ^= 1 << bit;
                let changed = URL_SAFE_NO_PAD.encode(changed);
                assert_eq!(pager.decode::<Position>("list", &changed), Err(InvalidPageToken));
            }
        }
        for length in 0..token.len() {
            assert_eq!(pager.decode::<Position>("list", &token[..length]), Err(InvalidPageToken));
        }
        for garbage in
            ["", "=", "%%%", "ä", &"A".repeat(LONGEST + 1), &format!("{token}A"), &format!("{token}=")]
        {
            assert_eq!(pager.decode::<Position>("list", garbage), Err(InvalidPageToken), "{garbage}");
        }
    }

    #[test]
    fn a_position_of_another_shape_is_refused() {
        let pager = Pager::new([7; 32]);
        let token = pager.encode("list", &position()).unwrap();
        assert_eq!(pager.decode::<i64>("list", &token), Err(InvalidPageToken));
    }

    #[test]
    fn page_sizes_are_bounded() {
        assert_eq!(page_size(0, 50, 1000), Ok(50));
        assert_eq!(page_size(1, 50, 1000), Ok(1));
        assert_eq!(page_size(1000, 50, 1000), Ok(1000));
        assert_eq!(page_size(1001, 50, 1000), Ok(1000));
        assert_eq!(page_size(i64::MAX, 50, 1000), Ok(1000));
        assert_eq!(page_size(u32::MAX, 50, 1000), Ok(1000));
        assert_eq!(page_size(-1, 50, 1000), Err(NegativePageSize));
        assert_eq!(page_size(i64::MIN, 50, 1000), Err(NegativePageSize));
    }
}
