//! Registering accounts and changing them.

use sha2::{Digest as _, Sha256};

use super::{Authority, Caller, KEYS_KEPT};
use crate::domain::{Account, AccountId, Email, Error, Password, Role, Rule, Username};
use crate::limits::Source;
use crate::store::{EmailChanged, NewAccount, Registered, Repeatable};

/// The most bytes in an idempotency key.
const IDEMPOTENCY_KEY_BYTES: usize = 255;

/// What it takes to register an account, checked.
#[derive(Clone, Debug)]
pub struct Registration {
    /// How it is called.
    pub username: Username,
    /// Its e-mail address.
    pub email: Option<Email>,
    /// Its password.
    pub password: Password,
    /// What makes a repetition of the call recognisable.
    pub idempotency_key: Option<String>,
    /// Who asks.
    pub source: Source,
}

impl Authority {
    /// Checks what was asked for against the rules.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`], [`Error::InvalidField`].
    pub fn registration(
        &self,
        username: &str,
        email: &str,
        password: &str,
        idempotency_key: String,
        client_address: &str,
    ) -> Result<Registration, Error> {
        Ok(Registration {
            username: Username::parse(username)?,
            email: Email::parse(email)?,
            password: Password::to_set("password", password, self.policy.shortest_password)?,
            idempotency_key: check_key(idempotency_key)?,
            source: Source::parse(client_address)?,
        })
    }

    /// Creates an account, or finds the one that the same call has created before.
    ///
    /// # Errors
    /// [`Error::RegistrationClosed`], [`Error::UsernameTaken`], [`Error::EmailTaken`], [`Error::IdempotencyMismatch`],
    /// [`Error::RateLimited`], [`Error::Overloaded`], [`Error::Unavailable`], [`Error::Internal`].
    pub async fn register(&self, registration: Registration) -> Result<Account, Error> {
        if !self.policy.registration_open {
            return Err(Error::RegistrationClosed);
        }
        let now = self.clock.now();
        let repeatable = registration.idempotency_key.clone().map(|key| Repeatable {
            key,
            fingerprint: fingerprint(&registration),
            forgotten_before: now - KEYS_KEPT,
        });
        if let Some(repeatable) = &repeatable
            && let Some(account) = self.registered_before(repeatable, &registration).await?
        {
            return Ok(account);
        }
        self.limits.register(registration.source, now)?;
        let credential = self.hasher.turn().await?.hash(registration.password.clone()).await?;
        let account = Account {
            id: AccountId(self.new_id()),
            username: registration.username.clone(),
            email: registration.email.clone(),
            role: Role::Member,
            created_at: now,
        };
        let new = NewAccount { account: &account, credential: &credential, repeatable: repeatable.as_ref() };
        match (self.store.add_account(&new).await?, &repeatable) {
            (Registered::New, _) => {
                tracing::info!(account = %account.id, source = %registration.source, "registered");
                Ok(account)
            }
            (Registered::UsernameTaken, _) => Err(Error::UsernameTaken),
            (Registered::EmailTaken, _) => Err(Error::EmailTaken),
            // The same call came in twice at once, and the other one was first.
            (Registered::Repeated, Some(repeatable)) => {
                self.registered_before(repeatable, &registration).await?.ok_or(Error::IdempotencyMismatch)
            }
            (Registered::Repeated, None) => Err(Error::internal("a registration without a key was repeated")),
        }
    }

    /// The account that was registered with that key, if the rest of the request is the same too. The password is not
    /// part of the fingerprint; it has to be the account's.
    async fn registered_before(
        &self,
        repeatable: &Repeatable,
        registration: &Registration,
    ) -> Result<Option<Account>, Error> {
        let Some((fingerprint, id)) =
            self.store.registration(&repeatable.key, repeatable.forgotten_before).await?
        else {
            return Ok(None);
        };
        if fingerprint != repeatable.fingerprint {
            return Err(Error::IdempotencyMismatch);
        }
        let stored = self.store.account(id).await?.ok_or(Error::IdempotencyMismatch)?;
        match self.check_password_of(&stored, registration.password.clone(), registration.source).await {
            Ok(()) => Ok(Some(stored.account)),
            Err(Error::WrongCredentials) => Err(Error::IdempotencyMismatch),
            Err(other) => Err(other),
        }
    }

    /// The caller's account.
    ///
    /// # Errors
    /// [`Error::SessionInvalid`], [`Error::Unavailable`], [`Error::Internal`].
    pub async fn account(&self, caller: &Caller) -> Result<Account, Error> {
        Ok(self.account_of(caller).await?.account)
    }

    /// Replaces the caller's password and ends all other sessions of the account.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`], [`Error::InvalidField`], [`Error::WrongCredentials`], [`Error::RateLimited`],
    /// [`Error::SessionInvalid`], [`Error::Overloaded`], [`Error::Unavailable`], [`Error::Internal`].
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: &str,
        new: &str,
        client_address: &str,
    ) -> Result<(), Error> {
        let source = Source::parse(client_address)?;
        let current = Password::to_compare("current_password", current)?;
        let new = Password::to_set("new_password", new, self.policy.shortest_password)?;
        let stored = self.account_of(caller).await?;
        self.check_password_of(&stored, current, source).await?;
        let credential = self.hasher.turn().await?.hash(new).await?;
        let changed = self
            .store
            .change_credential(
                caller.account_id,
                &stored.credential,
                &credential,
                caller.session_id,
                self.clock.now(),
            )
            .await;
        self.forget_exchanges();
        if !changed? {
            // Somebody else changed it in between, so the current one was wrong by then.
            return Err(Error::WrongCredentials);
        }
        tracing::info!(account = %caller.account_id, session = %caller.session_id, "password changed");
        Ok(())
    }

    /// Replaces or removes the caller's e-mail address.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`], [`Error::InvalidField`], [`Error::EmailTaken`], [`Error::WrongCredentials`],
    /// [`Error::RateLimited`], [`Error::SessionInvalid`], [`Error::Overloaded`], [`Error::Unavailable`], [`Error::Internal`].
    pub async fn change_email(
        &self,
        caller: &Caller,
        current: &str,
        email: &str,
        client_address: &str,
    ) -> Result<Account, Error> {
        let source = Source::parse(client_address)?;
        let current = Password::to_compare("current_password", current)?;
        let email = Email::parse(email)?;
        let stored = self.account_of(caller).await?;
        self.check_password_of(&stored, current, source).await?;
        match self.store.change_email(caller.account_id, email.as_ref()).await? {
            EmailChanged::Done(account) => {
                tracing::info!(account = %account.id, session = %caller.session_id, "e-mail address changed");
                Ok(account)
            }
            EmailChanged::Taken => Err(Error::EmailTaken),
            EmailChanged::NoAccount => Err(Error::SessionInvalid),
        }
    }
}

fn check_key(key: String) -> Result<Option<String>, Error> {
    let refuse = |rule| Err(Error::InvalidField { field: "idempotency_key", rule });
    if key.len() > IDEMPOTENCY_KEY_BYTES {
        return refuse(Rule::LongerThanBytes(IDEMPOTENCY_KEY_BYTES));
    }
    if key.chars().any(char::is_control) {
        return refuse(Rule::InvisibleCharacter);
    }
    Ok(Some(key).filter(|key| !key.is_empty()))
}

/// SHA-256 over the names of a registration, each with its length before it.
fn fingerprint(registration: &Registration) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in [registration.username.as_str(), registration.email.as_ref().map_or("", Email::as_str)] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}
