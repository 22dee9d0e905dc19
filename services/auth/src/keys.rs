//! The keys that access tokens are signed with: Ed25519 key pairs in files of one directory.
//!
//! A file is called `<seconds>.der` and holds a PKCS#8 key pair in DER. The name says from when its key signs, in Unix
//! seconds; it signs until the next one does. All keys of the directory are published. So replicas that share the
//! directory agree without speaking to each other, and a key can be brought along by hand:
//!
//! ```sh
//! openssl genpkey -algorithm ed25519 -outform DER -out keys/$(date -d '+20 minutes' +%s).der
//! ```
//!
//! The directory is read again every minute. With rotation on (the default), an empty directory gets a first key, a key
//! that grows old gets a successor, and keys are deleted when their last token is gone. With rotation off nothing is
//! ever written, as it has to be where the directory is a mounted Secret.
//!
//! A successor is published for at least one token's lifetime and [`MARGIN`] before it signs, and a key stays published
//! for as long after it last signed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdall_runtime::token::{Claims, Signer, SigningError, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::domain::AccessToken;

/// What keys allow for slow clocks and slow readers of the directory.
pub const MARGIN: Duration = Duration::from_secs(10 * 60);

/// The `iss` of access tokens.
pub const ISSUER: &str = "holdall-auth";

/// The `aud` of access tokens.
pub const AUDIENCE: &str = "holdall";

const EXTENSION: &str = "der";

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or the directory cannot be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not called as it should be.
    #[error("{} should be called <Unix seconds>.der", .0.display())]
    Name(PathBuf),
    /// A file does not hold a key pair.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        source: SigningError,
    },
    /// There is no key, and none may be made.
    #[error("{} holds no key, and signing.rotate is off", .0.display())]
    Empty(PathBuf),
    /// No key pair could be made.
    #[error("no key pair could be made: {0}")]
    Generate(SigningError),
}

/// How keys come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Where they are.
    pub dir: PathBuf,
    /// How long a key signs before a successor takes over; `None` to leave the directory alone.
    pub rotate_after: Option<Duration>,
    /// How long a token lives.
    pub token_lifetime: Duration,
}

/// The keys.
pub struct Keyring {
    policy: KeyPolicy,
    /// By the time from which they sign; never empty.
    keys: RwLock<Arc<Vec<Key>>>,
}

struct Key {
    /// Unix seconds.
    signs_from: i64,
    path: PathBuf,
    signer: Signer,
}

impl Keyring {
    /// Reads the directory, and makes it and a first key where that is allowed. `now` is in Unix seconds.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(policy: KeyPolicy, now: i64) -> Result<Self, KeyError> {
        if policy.rotate_after.is_some() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&policy.dir)
                .map_err(|source| file_error("cannot make", &policy.dir, source))?;
        }
        let mut keys = read(&policy.dir)?;
        if keys.is_empty() {
            if policy.rotate_after.is_none() {
                return Err(KeyError::Empty(policy.dir));
            }
            generate(&policy.dir, now)?;
            // Another process may have been quicker; what counts is what lies there.
            keys = read(&policy.dir)?;
        }
        Ok(Self { policy, keys: RwLock::new(Arc::new(keys)) })
    }

    /// Reads the directory again, and makes and deletes keys as time demands. `now` is in Unix seconds.
    ///
    /// # Errors
    /// [`KeyError`]; the keys in use stay.
    pub fn tend(&self, now: i64) -> Result<(), KeyError> {
        let dir = &self.policy.dir;
        let mut keys = read(dir)?;
        if let Some(rotate_after) = self.policy.rotate_after {
            let settle = seconds(self.policy.token_lifetime + MARGIN);
            let newest = keys.last().map_or(i64::MIN, |key| key.signs_from);
            let mut changed = false;
            if newest.saturating_add(seconds(rotate_after)) <= now.saturating_add(settle) {
                let signs_from = now.saturating_add(settle);
                generate(dir, signs_from)?;
                tracing::info!(signs_from, "made a new signing key");
                changed = true;
            }
            for (key, successor) in keys.iter().zip(keys.iter().skip(1)) {
                if successor.signs_from.saturating_add(settle) < now {
                    fs::remove_file(&key.path)
                        .map_err(|error| file_error("cannot delete", &key.path, error))?;
                    tracing::info!(key_id = key.id(), "deleted an old signing key");
                    changed = true;
                }
            }
            if changed {
                keys = read(dir)?;
            }
        }
        if keys.is_empty() {
            return Err(KeyError::Empty(dir.clone()));
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// Signs. The claims' times are in Unix seconds, and `iat` chooses the key.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn sign(&self, claims: &Claims) -> Result<AccessToken, SigningError> {
        let keys = self.keys();
        let key = signing(&keys, claims.iat).ok_or(SigningError::Key)?;
        Ok(AccessToken {
            token: key.signer.sign(claims)?,
            key_id: key.id().to_owned(),
            expires_at: claims.exp.saturating_mul(1_000_000),
        })
    }

    /// All published keys; the one that signs at `now` (Unix seconds) comes first.
    pub fn published(&self, now: i64) -> Vec<VerifyingKey> {
        let keys = self.keys();
        let first = signing(&keys, now).map(Key::id);
        let mut published: Vec<_> = keys.iter().map(|key| key.signer.verifying_key().clone()).collect();
        published.sort_by_key(|key| Some(key.kid.as_str()) != first);
        published
    }

    /// Whether tokens signed with that key are accepted.
    pub fn publishes(&self, key_id: &str) -> bool {
        self.keys().iter().any(|key| key.id() == key_id)
    }

    fn keys(&self) -> Arc<Vec<Key>> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Key {
    fn id(&self) -> &str {
        &self.signer.verifying_key().kid
    }
}

/// The key that signs at `now`: the last one whose time has come, or the first one where the clock was set back.
fn signing(keys: &[Key], now: i64) -> Option<&Key> {
    keys.iter().rev().find(|key| key.signs_from <= now).or_else(|| keys.first())
}

fn read(dir: &Path) -> Result<Vec<Key>, KeyError> {
    let mut keys = Vec::new();
    let entries = fs::read_dir(dir).map_err(|source| file_error("cannot read", dir, source))?;
    for entry in entries {
        let path = entry.map_err(|source| file_error("cannot read", dir, source))?.path();
        // Among others the hidden entries of a mounted Secret.
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(signs_from) = name else { return Err(KeyError::Name(path)) };
        let pkcs8 = fs::read(&path).map_err(|source| file_error("cannot read", &path, source))?;
        let signer = signer(&pkcs8).map_err(|source| KeyError::Key { path: path.clone(), source })?;
        keys.push(Key { signs_from, path, signer });
    }
    keys.sort_by_key(|key| key.signs_from);
    Ok(keys)
}

/// A signer whose key id is the start of the public key's SHA-256, so that the same key has the same id everywhere.
fn signer(pkcs8: &[u8]) -> Result<Signer, SigningError> {
    let public = Signer::from_pkcs8("", pkcs8)?.verifying_key().public;
    let id: String = Sha256::digest(public).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Signer::from_pkcs8(id, pkcs8)
}

/// Writes a new key, whole or not at all. A file of that name that is there already stays.
fn generate(dir: &Path, signs_from: i64) -> Result<(), KeyError> {
    let pkcs8 = Signer::generate().map_err(KeyError::Generate)?;
    let path = dir.join(format!("{signs_from}.{EXTENSION}"));
    let draft = dir.join(format!(".{signs_from}.{}", std::process::id()));
    let written = write(&draft, &pkcs8).and_then(|()| match fs::hard_link(&draft, &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&draft);
    written.map_err(|source| file_error("cannot write", &path, source))?;
    removed.map_err(|source| file_error("cannot delete", &draft, source))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| file_error("cannot flush", dir, source))
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    // What a process with our number left behind when it was killed.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> KeyError {
    KeyError::File { action, path: path.to_owned(), source }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use uuid::Uuid;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;
    /// One token's lifetime and the margin.
    const SETTLE: i64 = 300 + 600;

    fn policy(dir: &Path) -> KeyPolicy {
        KeyPolicy {
            dir: dir.join("keys"),
            rotate_after: Some(Duration::from_secs(90 * 86_400)),
            token_lifetime: Duration::from_secs(300),
        }
    }

    fn claims(iat: i64) -> Claims {
        Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: Uuid::nil(),
            sid: Uuid::nil(),
            kind: "api".into(),
            role: "member".into(),
            iat,
            exp: iat + 300,
        }
    }

    fn signed_by(keys: &Keyring, now: i64) -> String {
        keys.sign(&claims(now)).unwrap().key_id
    }

    fn ids(keys: &Keyring, now: i64) -> Vec<String> {
        keys.published(now).into_iter().map(|key| key.kid).collect()
    }

    #[test]
    fn a_first_key_is_made_for_its_owner_alone_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keyring::open(policy(dir.path()), NOW).unwrap();
        let id = signed_by(&keys, NOW);
        assert_eq!(id.len(), 16);
        assert_eq!(ids(&keys, NOW), [id.as_str()]);

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let key_dir = dir.path().join("keys");
        assert_eq!((mode(&key_dir), mode(&key_dir.join(format!("{NOW}.der")))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&key_dir).unwrap().count(), 1, "no draft is left");

        let again = Keyring::open(policy(dir.path()), NOW + DAY).unwrap();
        assert_eq!(signed_by(&again, NOW + DAY), id);
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_stays_until_its_tokens_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keyring::open(policy(dir.path()), NOW).unwrap();
        let old = signed_by(&keys, NOW);

        let mut now = NOW + 90 * DAY - SETTLE - 1;
        keys.tend(now).unwrap();
        assert_eq!(ids(&keys, now), [old.as_str()], "too early");

        now += 1;
        keys.tend(now).unwrap();
        let published = ids(&keys, now);
        assert_eq!((published.len(), &published[0]), (2, &old));
        let new = published[1].clone();
        assert_eq!(signed_by(&keys, now + SETTLE - 1), old);
        assert_eq!(signed_by(&keys, now + SETTLE), new);
        assert_eq!(ids(&keys, now + SETTLE), [new.as_str(), old.as_str()]);

        for later in [1, SETTLE, 2 * SETTLE] {
            keys.tend(now + later).unwrap();
            assert!(keys.publishes(&old), "{later}");
        }
        keys.tend(now + 2 * SETTLE + 1).unwrap();
        assert_eq!(ids(&keys, now + 2 * SETTLE + 1), [new.as_str()]);
        assert!(!keys.publishes(&old));
    }

    #[test]
    fn replicas_agree_on_a_shared_directory() {
        let dir = tempfile::tempdir().unwrap();
        let one = Keyring::open(policy(dir.path()), NOW).unwrap();
        let other = Keyring::open(policy(dir.path()), NOW + 5).unwrap();
        let now = NOW + 90 * DAY;
        one.tend(now).unwrap();
        other.tend(now + 7).unwrap();
        one.tend(now + 60).unwrap();
        assert_eq!(ids(&one, now + 60), ids(&other, now + 60));
        assert_eq!(ids(&one, now + 60).len(), 2);
        for later in [60, SETTLE - 1, SETTLE, DAY] {
            assert_eq!(signed_by(&one, now + later), signed_by(&other, now + later));
        }
    }

    #[test]
    fn keys_can_be_replaced_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let policy = KeyPolicy { rotate_after: None, ..policy(dir.path()) };
        let missing = Keyring::open(policy.clone(), NOW);
        assert!(matches!(missing, Err(KeyError::File { .. })));
        fs::create_dir(&policy.dir).unwrap();
        assert!(matches!(Keyring::open(policy.clone(), NOW), Err(KeyError::Empty(_))));

        generate(&policy.dir, NOW - 10).unwrap();
        fs::create_dir(policy.dir.join("..data")).unwrap();
        let keys = Keyring::open(policy.clone(), NOW).unwrap();
        let first = signed_by(&keys, NOW);

        generate(&policy.dir, NOW + 100).unwrap();
        keys.tend(NOW + 60).unwrap();
        assert_eq!(signed_by(&keys, NOW + 60), first);
        assert_ne!(signed_by(&keys, NOW + 100), first);

        fs::remove_file(policy.dir.join(format!("{}.der", NOW - 10))).unwrap();
        keys.tend(NOW + 120).unwrap();
        assert!(!keys.publishes(&first));

        fs::remove_file(policy.dir.join(format!("{}.der", NOW + 100))).unwrap();
        assert!(keys.tend(NOW + 180).is_err());
        assert_ne!(signed_by(&keys, NOW + 180), first, "the keys in use stay");
        assert_eq!(fs::read_dir(&policy.dir).unwrap().count(), 1, "nothing is written");
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let policy = policy(dir.path());
        drop(Keyring::open(policy.clone(), NOW).unwrap());
        let stray = policy.dir.join("new.der");
        fs::write(&stray, b"x").unwrap();
        assert!(matches!(Keyring::open(policy.clone(), NOW), Err(KeyError::Name(path)) if path == stray));
        fs::rename(&stray, policy.dir.join("7.der")).unwrap();
        assert!(matches!(Keyring::open(policy, NOW), Err(KeyError::Key { .. })));
    }

    #[test]
    fn a_clock_set_back_leaves_a_key_to_sign_with() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keyring::open(policy(dir.path()), NOW).unwrap();
        let id = signed_by(&keys, NOW);
        keys.tend(NOW - DAY).unwrap();
        assert_eq!(signed_by(&keys, NOW - DAY), id);
    }
}
