//! The keys that this service shares with those who act for others: they open delegations, and the handles of sessions
//! that are reused are derived from them.

use std::path::{Path, PathBuf};

use holdall_proto::auth::v1::Delegation;
use holdall_proto::grant::KeyRing;
use holdall_runtime::keyfile::{self, KeyFileError};

use crate::domain::{Error, Handle, HandleForm, SessionId};

/// The method that gives access tokens for others.
pub const ACT_FOR: &str = "/holdall.auth.v1.DelegationService/ActFor";

/// The method that registers accounts.
pub const REGISTER: &str = "/holdall.auth.v1.AccountService/Register";

const HANDLES: &str = "holdall.auth.v1 2026-11 reusable session handles";

/// The keys; there may be none, and then nobody acts for others.
#[derive(Clone, Default)]
pub struct Delegations(Option<Keys>);

#[derive(Clone)]
struct Keys {
    ring: KeyRing,
    /// What handles are derived from, of the first key first.
    handles: Vec<[u8; 32]>,
}

impl Delegations {
    /// Reads the key files; the first seals, all open.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load(files: &[PathBuf]) -> Result<Self, KeyFileError> {
        let keys: Vec<_> =
            files.iter().map(|file| keyfile::load(Path::new(file))).collect::<Result<_, _>>()?;
        Ok(Self::new(&keys))
    }

    /// Those keys.
    pub fn new(keys: &[[u8; 32]]) -> Self {
        let Some((first, others)) = keys.split_first() else { return Self(None) };
        Self(Some(Keys {
            ring: others.iter().fold(KeyRing::new(first), KeyRing::and),
            handles: keys.iter().map(|key| blake3::derive_key(HANDLES, key)).collect(),
        }))
    }

    /// The [ids](KeyRing::ids) of the keys.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.0.as_ref().map(|keys| keys.ring.ids()).unwrap_or_default()
    }

    /// Checks a sealed delegation for `method` at `now`, in Unix microseconds.
    ///
    /// # Errors
    /// [`Error::GrantInvalid`].
    pub fn check(&self, sealed: &[u8], method: &str, now: i64) -> Result<(), Error> {
        let keys = self.0.as_ref().ok_or(Error::GrantInvalid)?;
        let refused = match keys.ring.open::<Delegation>(sealed, now) {
            Ok(delegation) if delegation.method == method => return Ok(()),
            Ok(_) => "the delegation is for another method".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::info!(method, reason = refused, "a delegation was refused");
        Err(Error::GrantInvalid)
    }

    /// The handle of a session that is going to be reused.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when there are no keys.
    pub fn handle(&self, session: SessionId, form: HandleForm) -> Result<Handle, Error> {
        self.handles(session, form).next().ok_or(Error::Forbidden)
    }

    /// The handles that a session can have that began with any of the keys.
    pub fn handles(&self, session: SessionId, form: HandleForm) -> impl Iterator<Item = Handle> {
        self.0
            .iter()
            .flat_map(|keys| &keys.handles)
            .map(move |key| Handle::of(form, *blake3::keyed_hash(key, session.0.as_bytes()).as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const OLD: [u8; 32] = [7; 32];
    const NEW: [u8; 32] = [8; 32];

    fn sealed(key: &[u8; 32], method: &str, expires_at_us: i64) -> Vec<u8> {
        KeyRing::new(key).seal(&Delegation { method: method.to_owned(), expires_at_us }).to_vec()
    }

    #[test]
    fn a_delegation_counts_for_its_method_until_its_end() {
        let delegations = Delegations::new(&[NEW, OLD]);
        for key in [OLD, NEW] {
            let good = sealed(&key, ACT_FOR, 10);
            assert!(delegations.check(&good, ACT_FOR, 9).is_ok());
            assert!(matches!(delegations.check(&good, ACT_FOR, 10), Err(Error::GrantInvalid)));
            assert!(matches!(delegations.check(&good, REGISTER, 9), Err(Error::GrantInvalid)));
        }
        let good = sealed(&NEW, ACT_FOR, 10);
        let foreign = sealed(&[9; 32], ACT_FOR, 10);
        for bad in [&[], &b"x"[..], &good[1..], &good[..good.len() - 1], &foreign] {
            assert!(matches!(delegations.check(bad, ACT_FOR, 9), Err(Error::GrantInvalid)));
        }
        assert!(matches!(Delegations::new(&[]).check(&good, ACT_FOR, 9), Err(Error::GrantInvalid)));
    }

    #[test]
    fn handles_depend_on_key_and_session() {
        let (one, other) = (SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
        let both = Delegations::new(&[NEW, OLD]);
        for form in [HandleForm::Long, HandleForm::Uuid] {
            let handle = both.handle(one, form).unwrap();
            assert!(handle == Delegations::new(&[NEW]).handle(one, form).unwrap());
            assert!(handle != both.handle(other, form).unwrap());
            let old = Delegations::new(&[OLD]).handle(one, form).unwrap();
            assert!(old != handle);
            assert!(both.handles(one, form).any(|known| known == old));
        }
        assert!(matches!(Delegations::new(&[]).handle(one, HandleForm::Long), Err(Error::Forbidden)));
    }
}
