//! Password hashing: Argon2id (RFC 9106), version 0x13, stored as PHC strings. Passwords that were hashed elsewhere are
//! compared as their scheme has it, and then hashed anew.
//!
//! A hash takes tens of milliseconds and megabytes on purpose, so only as many run at once as there are cores, a bounded
//! number waits for a turn, and nobody waits long: overload is answered, and never costs memory.

mod imported;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{Error, Password, Rule};

/// The most bytes in an imported credential.
const IMPORTED_BYTES: usize = 1024;

/// What a hash costs, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory of one hash in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes; they run one after the other.
    pub lanes: u32,
    /// Hashes that run at once.
    pub running: usize,
    /// Hashes that wait for a turn.
    pub waiting: usize,
    /// How long one waits for a turn.
    pub wait: Duration,
}

impl Cost {
    /// The parameters as the algorithm wants them.
    ///
    /// # Errors
    /// When they lie outside what RFC 9106 allows.
    pub fn params(&self) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.iterations, self.lanes, None)
    }
}

/// A stored credential: a PHC string of ours, or a crypt string that was imported. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(pub(crate) String);

impl Credential {
    /// The credential that no password has.
    pub fn none() -> Self {
        Self(String::new())
    }

    /// A crypt string from outside: any text of at most 1,024 bytes without control characters. What is of no scheme known
    /// here is the right password of nobody.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming `imported_credential`.
    pub fn import(crypt: &str) -> Result<Self, Error> {
        let refuse = |rule| Err(Error::InvalidField { field: "imported_credential", rule });
        if crypt.is_empty() {
            return refuse(Rule::Empty);
        }
        if crypt.len() > IMPORTED_BYTES {
            return refuse(Rule::LongerThanBytes(IMPORTED_BYTES));
        }
        if crypt.chars().any(char::is_control) {
            return refuse(Rule::InvisibleCharacter);
        }
        Ok(Self(crypt.to_owned()))
    }

    /// As text. Secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Hashes passwords.
pub struct Hasher {
    work: Arc<Work>,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    wait: Duration,
}

struct Work {
    argon2: Argon2<'static>,
    hashes: AtomicU64,
}

/// The right to hash once.
#[must_use]
pub struct Turn {
    work: Arc<Work>,
    permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// What a password is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No password is right.
    Nothing,
    /// A credential made here.
    Own(Credential),
    /// A credential that was imported.
    Imported(Credential),
}

/// What a comparison found.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not the password, or there is no credential.
    Wrong,
    /// The password.
    Right {
        /// The same password hashed anew, when the stored credential was imported or is weaker than what is asked for
        /// today.
        stronger: Option<Credential>,
    },
}

impl Hasher {
    /// A hasher at that cost.
    ///
    /// # Errors
    /// As [`Cost::params`].
    pub fn new(cost: &Cost) -> Result<Self, argon2::Error> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?);
        Ok(Self {
            work: Arc::new(Work { argon2, hashes: AtomicU64::new(0) }),
            running: Arc::new(Semaphore::new(cost.running)),
            admitted: Arc::new(Semaphore::new(cost.running + cost.waiting)),
            wait: cost.wait,
        })
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait already, or when it takes too long.
    pub async fn turn(&self) -> Result<Turn, Error> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| Error::Overloaded)?;
        let running = tokio::time::timeout(self.wait, Arc::clone(&self.running).acquire_owned())
            .await
            .map_err(|_| Error::Overloaded)?
            .map_err(|_| Error::Overloaded)?;
        Ok(Turn { work: Arc::clone(&self.work), permits: (running, admitted) })
    }

    /// How many hashes were computed so far.
    pub fn hashes(&self) -> u64 {
        self.work.hashes.load(Ordering::Relaxed)
    }
}

impl Turn {
    /// Makes the credential for a password.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is no memory or no randomness.
    pub async fn hash(self, password: Password) -> Result<Credential, Error> {
        self.run(move |work| work.hash(&password)).await
    }

    /// Compares a password with what is expected. With nothing it works as long as with a credential, and finds it wrong.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is no memory or no randomness, or when a credential made here cannot be read.
    pub async fn verify(self, password: Password, expected: Expected) -> Result<Verdict, Error> {
        self.run(move |work| match expected {
            Expected::Own(credential) => work.verify(&password, &credential),
            Expected::Imported(credential) => work.verify_imported(&password, &credential),
            Expected::Nothing => work.reject(&password),
        })
        .await
    }

    /// Runs on a thread of its own. The turn goes along: a caller that gives up does not free it before the work is done.
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Work) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&self.work);
            drop(self.permits);
            result
        });
        done.await.map_err(|_| Error::internal("a password hash did not finish"))?
    }
}

impl Work {
    fn hash(&self, password: &Password) -> Result<Credential, Error> {
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let hash: PasswordHash = self
            .argon2
            .hash_password(password.as_bytes())
            .map_err(|_| Error::internal("a password could not be hashed"))?;
        Ok(Credential(hash.to_string()))
    }

    fn verify(&self, password: &Password, credential: &Credential) -> Result<Verdict, Error> {
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let stored = PasswordHash::new(&credential.0)
            .map_err(|_| Error::internal("a stored credential cannot be read"))?;
        match self.argon2.verify_password(password.as_bytes(), &stored) {
            Ok(()) => {
                let stronger = self.is_weak(&stored).then(|| self.hash(password)).transpose()?;
                Ok(Verdict::Right { stronger })
            }
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
            Err(_) => Err(Error::internal("a stored credential cannot be compared")),
        }
    }

    fn verify_imported(&self, password: &Password, credential: &Credential) -> Result<Verdict, Error> {
        let Some(matches) = imported::matches(password.as_bytes(), &credential.0) else {
            return self.reject(password);
        };
        self.hashes.fetch_add(1, Ordering::Relaxed);
        if !matches {
            return Ok(Verdict::Wrong);
        }
        Ok(Verdict::Right { stronger: Some(self.hash(password)?) })
    }

    /// Finds a password wrong, and takes its time.
    fn reject(&self, password: &Password) -> Result<Verdict, Error> {
        self.hash(password).map(|_| Verdict::Wrong)
    }

    /// Whether a credential costs an attacker less than those made today.
    fn is_weak(&self, stored: &PasswordHash) -> bool {
        let today = self.argon2.params();
        Params::try_from(stored).map_or(true, |then| {
            stored.algorithm != argon2::ARGON2ID_IDENT
                || stored.version != Some(Version::V0x13.into())
                || then.m_cost() < today.m_cost()
                || then.t_cost() < today.t_cost()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost() -> Cost {
        Cost { memory_kib: 8, iterations: 1, lanes: 1, running: 2, waiting: 32, wait: Duration::from_secs(2) }
    }

    fn hasher(cost: Cost) -> Hasher {
        Hasher::new(&cost).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::to_compare("password", text).unwrap()
    }

    async fn hash(hasher: &Hasher, text: &str) -> Credential {
        hasher.turn().await.unwrap().hash(password(text)).await.unwrap()
    }

    async fn verify(hasher: &Hasher, text: &str, credential: &Credential) -> Verdict {
        hasher.turn().await.unwrap().verify(password(text), Expected::Own(credential.clone())).await.unwrap()
    }

    #[tokio::test]
    async fn a_credential_is_a_phc_string_of_argon2id() {
        let hasher = hasher(Cost { memory_kib: 19_456, iterations: 2, ..cost() });
        let Credential(phc) = hash(&hasher, "correct horse").await;
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let [salt, tag] = phc.rsplit('$').take(2).collect::<Vec<_>>()[..] else { panic!("{phc}") };
        // 32 and 16 bytes in base64 without padding; `rsplit` starts at the end.
        assert_eq!((salt.len(), tag.len()), (43, 22));
    }

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let hasher = hasher(cost());
        let credential = hash(&hasher, "correct horse").await;
        assert_ne!(hash(&hasher, "correct horse").await, credential, "salted");
        assert_eq!(verify(&hasher, "correct horse", &credential).await, Verdict::Right { stronger: None });
        for wrong in ["", "correct hors", "correct horse ", "Correct horse", "correct horse\0"] {
            assert_eq!(verify(&hasher, wrong, &credential).await, Verdict::Wrong, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn the_test_vector_of_another_implementation_is_right() {
        // From the test suite of the reference implementation, github.com/P-H-C/phc-winner-argon2, src/test.c.
        let credential = Credential(
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4".into(),
        );
        let hasher = hasher(Cost { memory_kib: 256, iterations: 2, ..cost() });
        assert_eq!(verify(&hasher, "password", &credential).await, Verdict::Right { stronger: None });
    }

    #[tokio::test]
    async fn weaker_credentials_are_made_anew_and_stronger_ones_kept() {
        let (weak, strong) = (hasher(cost()), hasher(Cost { memory_kib: 16, iterations: 2, ..cost() }));
        let old = hash(&weak, "correct horse").await;
        assert_eq!(verify(&strong, "wrong", &old).await, Verdict::Wrong);
        let Verdict::Right { stronger: Some(new) } = verify(&strong, "correct horse", &old).await else {
            panic!("expected a new credential")
        };
        assert!(new.0.contains("m=16,t=2"), "{}", new.0);
        assert_eq!(verify(&strong, "correct horse", &new).await, Verdict::Right { stronger: None });
        assert_eq!(verify(&weak, "correct horse", &new).await, Verdict::Right { stronger: None });
    }

    #[tokio::test]
    async fn nobody_costs_a_hash_like_somebody() {
        let hasher = hasher(cost());
        let verdict = hasher.turn().await.unwrap().verify(password("x"), Expected::Nothing).await.unwrap();
        assert_eq!((verdict, hasher.hashes()), (Verdict::Wrong, 1));
    }

    #[tokio::test]
    async fn a_broken_credential_is_a_defect_and_never_right() {
        let hasher = hasher(cost());
        for broken in ["", "x", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ"] {
            let turn = hasher.turn().await.unwrap();
            let result = turn.verify(password("x"), Expected::Own(Credential(broken.into()))).await;
            assert!(!matches!(result, Ok(Verdict::Right { .. })), "{broken}");
        }
    }

    #[tokio::test]
    async fn an_imported_credential_is_hashed_anew_when_the_password_is_right() {
        let hasher = hasher(cost());
        let verify = async |text: &str, crypt: &str| {
            let expected = Expected::Imported(Credential::import(crypt).unwrap());
            hasher.turn().await.unwrap().verify(password(text), expected).await.unwrap()
        };
        // Also one that would be strong enough.
        let ours = hash(&hasher, "correct horse").await;
        for crypt in ["$1$deadbeef$dedjvjO4ZAEydph55Edcn/", ours.reveal()] {
            assert_eq!(verify("wrong horse", crypt).await, Verdict::Wrong);
            let Verdict::Right { stronger: Some(new) } = verify("correct horse", crypt).await else {
                panic!("expected a new credential")
            };
            assert!(new.reveal().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
            assert_ne!(new.reveal(), crypt);
        }
    }

    #[tokio::test]
    async fn an_imported_credential_of_no_known_scheme_costs_a_hash_and_is_never_right() {
        let hasher = hasher(cost());
        for crypt in
            ["correct horse", "$y$j9T$salt$hash", "$2b$31$", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ"]
        {
            let (before, expected) =
                (hasher.hashes(), Expected::Imported(Credential::import(crypt).unwrap()));
            let verdict = hasher.turn().await.unwrap().verify(password("correct horse"), expected).await;
            assert_eq!((verdict.unwrap(), hasher.hashes() - before), (Verdict::Wrong, 1), "{crypt}");
        }
    }

    #[test]
    fn a_credential_to_import_is_short_and_plain() {
        let rule = |crypt: &str| match Credential::import(crypt) {
            Err(Error::InvalidField { field: "imported_credential", rule }) => Some(rule),
            _ => None,
        };
        assert_eq!(rule(&"x".repeat(1024)), None);
        assert_eq!(rule(&"x".repeat(1025)), Some(Rule::LongerThanBytes(1024)));
        assert_eq!(rule(""), Some(Rule::Empty));
        assert_eq!(rule("$1$a\n"), Some(Rule::InvisibleCharacter));
    }

    #[tokio::test]
    async fn more_than_wait_are_turned_away_at_once() {
        let hasher = hasher(Cost { running: 1, waiting: 2, wait: Duration::from_secs(600), ..cost() });
        let first = hasher.turn().await.unwrap();
        let mut waiting = [Box::pin(hasher.turn()), Box::pin(hasher.turn())];
        for turn in &mut waiting {
            assert!(tokio::time::timeout(Duration::ZERO, turn).await.is_err());
        }
        assert!(matches!(hasher.turn().await, Err(Error::Overloaded)));
        drop(first);
        let [one, other] = waiting;
        drop(one.await.unwrap());
        drop(other.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long() {
        let hasher = hasher(Cost { running: 1, ..cost() });
        let _turn = hasher.turn().await.unwrap();
        let started = tokio::time::Instant::now();
        assert!(matches!(hasher.turn().await, Err(Error::Overloaded)));
        assert_eq!(started.elapsed(), Duration::from_secs(2));
    }

    #[test]
    fn a_credential_is_never_printed() {
        assert_eq!(format!("{:?}", Credential("$argon2id$…".into())), "Credential(…)");
    }
}
