//! Sessions, the handles that devices hold, and the tokens that handles are exchanged for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::account::AccountId;
use super::error::{Error, Rule};

/// Names a session; a UUIDv7, and no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub Uuid);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A browser.
    Web,
    /// A program or the command line.
    Api,
    /// A device that keeps folders in sync.
    Sync,
    /// A client of one of the older APIs.
    Legacy,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Web, Self::Api, Self::Sync, Self::Legacy];

    /// The kind's name, as it is stored and as it stands in access tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Api => "api",
            Self::Sync => "sync",
            Self::Legacy => "legacy",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(())
    }
}

/// How long sessions of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without being extended.
    pub idle: Duration,
    /// In any case.
    pub absolute: Duration,
}

/// The lifetime of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of [`Kind::Web`].
    pub web: Lifetime,
    /// Of [`Kind::Api`].
    pub api: Lifetime,
    /// Of [`Kind::Sync`].
    pub sync: Lifetime,
    /// Of [`Kind::Legacy`].
    pub legacy: Lifetime,
}

impl Lifetimes {
    /// How long sessions of that kind live.
    pub fn of(&self, kind: Kind) -> Lifetime {
        match kind {
            Kind::Web => self.web,
            Kind::Api => self.api,
            Kind::Sync => self.sync,
            Kind::Legacy => self.legacy,
        }
    }
}

/// One signed-in device. Carries no secret. Times are Unix microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Names it.
    pub id: SessionId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it is for.
    pub kind: Kind,
    /// As the device gave it; may be empty.
    pub device_name: String,
    /// When it signed in.
    pub created_at: i64,
    /// The last exchange that was written down.
    pub last_used_at: i64,
    /// When it ends unless it is extended before.
    pub expires_at: i64,
    /// The latest that [`expires_at`](Self::expires_at) can be moved to.
    pub absolute_expires_at: i64,
}

impl Session {
    /// A session that starts now.
    pub(crate) fn start(
        id: SessionId,
        account_id: AccountId,
        kind: Kind,
        device_name: String,
        lifetime: Lifetime,
        now: i64,
    ) -> Self {
        let absolute_expires_at = after(now, lifetime.absolute);
        Self {
            id,
            account_id,
            kind,
            device_name,
            created_at: now,
            last_used_at: now,
            expires_at: after(now, lifetime.idle).min(absolute_expires_at),
            absolute_expires_at,
        }
    }

    /// The session as it is when its lifetime begins anew at `now`.
    pub(crate) fn renewed(self, lifetime: Lifetime, now: i64) -> Self {
        let absolute_expires_at = after(now, lifetime.absolute);
        let expires_at = after(now, lifetime.idle).min(absolute_expires_at);
        Self { last_used_at: now, expires_at, absolute_expires_at, ..self }
    }

    /// Where an extension at `now` moves the end to: the idle lifetime from now, within the absolute one, and never back.
    pub(crate) fn extended(&self, lifetime: Lifetime, now: i64) -> i64 {
        after(now, lifetime.idle).min(self.absolute_expires_at).max(self.expires_at)
    }
}

/// `time` plus `duration`, in Unix microseconds.
pub fn after(time: i64, duration: Duration) -> i64 {
    time.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// Checks the name that a device gives itself: at most 100 characters, none of them a control.
///
/// # Errors
/// [`Error::InvalidField`] naming `device_name`.
pub fn device_name(given: &str) -> Result<&str, Error> {
    const CHARACTERS: usize = 100;
    let refuse = |rule| Err(Error::InvalidField { field: "device_name", rule });
    if given.chars().count() > CHARACTERS {
        return refuse(Rule::LongerThanCharacters(CHARACTERS));
    }
    if given.chars().any(char::is_control) {
        return refuse(Rule::InvisibleCharacter);
    }
    Ok(given)
}

/// The secret that a device holds. Never printed, and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Handle(Bits);

#[derive(Clone, PartialEq, Eq)]
enum Bits {
    Long([u8; 32]),
    Uuid(Uuid),
}

/// How a [`Handle`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandleForm {
    /// 256 random bits as `hs_` and 43 characters of base64url, so that scanners for leaked secrets can know one when they
    /// see it.
    #[default]
    Long,
    /// 122 random bits as a UUID, version 4 (RFC 9562), in lower case with hyphens.
    Uuid,
}

/// What is stored of a [`Handle`]: its SHA-256. A fast hash is enough, for nobody can guess 122 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandleHash(pub(crate) [u8; 32]);

const PREFIX: &str = "hs_";

impl Handle {
    /// A new one, from the operating system's generator.
    ///
    /// # Errors
    /// [`Error::Internal`] when the generator fails.
    pub fn generate(form: HandleForm) -> Result<Self, Error> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)
            .map_err(|_| Error::internal("the operating system gave no random bytes"))?;
        Ok(Self::of(form, bits))
    }

    /// The one that is made of `bits`, which nobody must be able to guess.
    pub(crate) fn of(form: HandleForm, bits: [u8; 32]) -> Self {
        Self(match form {
            HandleForm::Long => Bits::Long(bits),
            HandleForm::Uuid => {
                let mut half = [0; 16];
                half.iter_mut().zip(bits).for_each(|(to, from)| *to = from);
                Bits::Uuid(uuid::Builder::from_random_bytes(half).into_uuid())
            }
        })
    }

    /// Reads what a device sent; `None` for what was never given out.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(text) = text.strip_prefix(PREFIX) {
            let bits = URL_SAFE_NO_PAD.decode(text).ok()?;
            return Some(Self(Bits::Long(bits.try_into().ok()?)));
        }
        let uuid: Hyphenated = text.parse().ok()?;
        Some(Self(Bits::Uuid(uuid.into_uuid())))
    }

    /// How it is written.
    pub fn form(&self) -> HandleForm {
        match self.0 {
            Bits::Long(_) => HandleForm::Long,
            Bits::Uuid(_) => HandleForm::Uuid,
        }
    }

    /// The text that the device keeps. Secret.
    pub fn reveal(&self) -> String {
        match &self.0 {
            Bits::Long(bits) => format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits)),
            Bits::Uuid(uuid) => uuid.to_string(),
        }
    }

    /// What is stored of it.
    pub fn hash(&self) -> HandleHash {
        HandleHash(match &self.0 {
            Bits::Long(bits) => Sha256::digest(bits).into(),
            Bits::Uuid(uuid) => Sha256::digest(uuid.as_bytes()).into(),
        })
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(…)")
    }
}

impl fmt::Debug for HandleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandleHash(…)")
    }
}

/// A token that services accept for the caller. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// A JWT. Secret while it lives.
    pub token: String,
    /// Which key signed it.
    pub key_id: String,
    /// Not valid from then on; Unix microseconds, whole seconds.
    pub expires_at: i64,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const DAY_US: i64 = 86_400_000_000;

    fn session(idle: u32, absolute: u32) -> Session {
        Session::start(
            SessionId(Uuid::nil()),
            AccountId(Uuid::nil()),
            Kind::Api,
            String::new(),
            Lifetime { idle: DAY * idle, absolute: DAY * absolute },
            0,
        )
    }

    #[test]
    fn a_handle_is_read_back_and_hashes_alike() {
        for (form, length) in [(HandleForm::Long, 46), (HandleForm::Uuid, 36)] {
            let handle = Handle::generate(form).unwrap();
            let text = handle.reveal();
            assert_eq!(text.len(), length);
            assert_eq!(handle.form(), form);
            assert_eq!(Handle::parse(&text).unwrap().hash(), handle.hash());
            assert_ne!(Handle::generate(form).unwrap().hash(), handle.hash());
        }
    }

    #[test]
    fn a_handle_can_have_the_form_of_a_uuid_of_version_4() {
        let text = Handle::of(HandleForm::Uuid, [0xff; 32]).reveal();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(Handle::parse(&text.to_uppercase()).unwrap().hash(), Handle::parse(&text).unwrap().hash());
    }

    #[test]
    fn what_is_no_handle_is_not_read() {
        let text = Handle::generate(HandleForm::Long).unwrap().reveal();
        let uuid = Handle::generate(HandleForm::Uuid).unwrap().reveal();
        let long = format!("{text}A");
        for bad in [
            "",
            "hs_",
            &text[3..],
            &text[..45],
            &long,
            "hs_%",
            &format!("{text}="),
            &text.replace("hs_", "HS_"),
            &format!("hs_{uuid}"),
            &uuid.replace('-', ""),
            &format!("{{{uuid}}}"),
            &format!("urn:uuid:{uuid}"),
            &uuid[1..],
        ] {
            assert!(Handle::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn neither_handle_nor_hash_nor_token_is_printed() {
        let handle = Handle::of(HandleForm::Long, [0xab; 32]);
        let token = AccessToken { token: "eyJabc".into(), key_id: "k".into(), expires_at: 7 };
        let printed = format!("{handle:?} {:?} {token:?}", handle.hash());
        assert_eq!(printed, "Handle(…) HandleHash(…) AccessToken { expires_at: 7, .. }");
    }

    #[test]
    fn a_session_ends_by_the_shorter_lifetime() {
        assert_eq!(session(7, 30).expires_at, 7 * DAY_US);
        assert_eq!(session(90, 30).expires_at, 30 * DAY_US);
    }

    #[test]
    fn extending_stops_at_the_absolute_end_and_never_moves_back() {
        let lifetime = Lifetime { idle: DAY * 7, absolute: DAY * 30 };
        let mut session = session(7, 30);
        assert_eq!(session.extended(lifetime, 5 * DAY_US), 12 * DAY_US);
        assert_eq!(session.extended(lifetime, 29 * DAY_US), 30 * DAY_US);
        session.expires_at = 20 * DAY_US;
        assert_eq!(session.extended(lifetime, DAY_US), 20 * DAY_US);
        assert_eq!(session.extended(lifetime, -DAY_US), 20 * DAY_US);
    }

    #[test]
    fn a_renewed_session_lives_as_long_as_one_that_starts() {
        let old = session(7, 30);
        let lifetime = Lifetime { idle: DAY * 9, absolute: DAY * 10 };
        let renewed = old.clone().renewed(lifetime, 20 * DAY_US);
        assert_eq!((renewed.expires_at, renewed.absolute_expires_at), (29 * DAY_US, 30 * DAY_US));
        assert_eq!((renewed.last_used_at, renewed.created_at), (20 * DAY_US, old.created_at));
        let short = Lifetime { idle: DAY * 2, absolute: DAY };
        assert_eq!(renewed.renewed(short, 0).expires_at, DAY_US);
    }

    #[test]
    fn a_device_name_is_short_and_plain() {
        assert!(device_name("").is_ok());
        assert!(device_name("Ada's Läptop 💻").is_ok());
        assert!(device_name(&"ä".repeat(100)).is_ok());
        assert!(device_name(&"ä".repeat(101)).is_err());
        assert!(device_name("a\r\nb").is_err());
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!("root".parse::<Kind>(), Err(()));
    }
}
