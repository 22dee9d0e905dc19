//! Registering accounts, changing and deleting them.

use sha2::{Digest as _, Sha256};

use super::{Authority, Caller, KEYS_KEPT};
use crate::delegation::REGISTER;
use crate::domain::{Account, AccountId, Email, Error, Password, Role, Rule, Username, external_reference};
use crate::limits::Source;
use crate::password::Credential;
use crate::store::{CredentialChange, EmailChanged, NewAccount, Registered, Repeatable, StoredAccount};

/// The most bytes in an idempotency key.
const IDEMPOTENCY_KEY_BYTES: usize = 255;

/// What somebody who asks for an account has filled in.
#[derive(Clone, Copy, Default)]
pub struct Form<'a> {
    /// How it is to be called.
    pub username: &'a str,
    /// Its e-mail address; empty for none.
    pub email: &'a str,
    /// Its password; empty for an imported credential.
    pub password: &'a str,
    /// What makes a repetition of the call recognisable; empty for nothing.
    pub idempotency_key: &'a str,
    /// Who asks; empty when not known.
    pub client_address: &'a str,
    /// A sealed delegation, which the next three need; empty for none.
    pub delegation: &'a [u8],
    /// A crypt string in place of the password; empty for none.
    pub imported_credential: &'a str,
    /// The fewest characters of the password; zero for the service's setting.
    pub min_password_length: u32,
    /// Whether any text is taken for an e-mail address.
    pub any_email: bool,
    /// What is to be kept with the account.
    pub external_reference: &'a str,
}

/// What it takes to register an account, checked.
#[derive(Clone, Debug)]
pub struct Registration {
    username: Username,
    email: Option<Email>,
    secret: Secret,
    idempotency_key: Option<String>,
    source: Source,
    min_password_length: u32,
    any_email: bool,
    external_reference: String,
}

/// What somebody is to sign in with.
#[derive(Clone, Debug)]
enum Secret {
    Password(Password),
    Imported(Credential),
}

impl Authority {
    /// Checks what was asked for against the rules.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`], [`Error::InvalidField`]; [`Error::GrantInvalid`] for a delegation that is not good.
    pub fn registration(&self, form: &Form<'_>) -> Result<Registration, Error> {
        if form.delegation.is_empty() {
            for (field, set) in [
                ("imported_credential", !form.imported_credential.is_empty()),
                ("min_password_length", form.min_password_length != 0),
                ("any_email", form.any_email),
            ] {
                if set {
                    return Err(Error::InvalidField { field, rule: Rule::WithoutDelegation });
                }
            }
        } else {
            self.delegations.check(form.delegation, REGISTER, self.clock.now())?;
        }
        let shortest = match form.min_password_length {
            0 => self.policy.shortest_password,
            length => usize::try_from(length).unwrap_or(usize::MAX),
        };
        Ok(Registration {
            username: Username::parse(form.username)?,
            email: email(form.email, form.any_email)?,
            secret: Secret::new("password", form.password, shortest, form.imported_credential)?,
            idempotency_key: check_key(form.idempotency_key)?,
            source: Source::parse(form.client_address)?,
            min_password_length: form.min_password_length,
            any_email: form.any_email,
            external_reference: external_reference(form.external_reference)?.to_owned(),
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
        let (credential, imported) = self.credential(registration.secret.clone()).await?;
        let account = Account {
            id: AccountId(self.new_id()),
            // The store gives it one.
            number: 0,
            username: registration.username.clone(),
            email: registration.email.clone(),
            role: Role::Member,
            external_reference: registration.external_reference.clone(),
            created_at: now,
        };
        let new = NewAccount {
            account: &account,
            credential: &credential,
            imported,
            repeatable: repeatable.as_ref(),
        };
        match (self.store.add_account(&new).await?, &repeatable) {
            (Registered::New { number }, _) => {
                tracing::info!(
                    account = %account.id,
                    number,
                    imported,
                    source = %registration.source,
                    "registered"
                );
                Ok(Account { number, ..account })
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

    /// The account that was registered with that key, if the rest of the request is the same too. A password is not part
    /// of the fingerprint; it has to be the account's.
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
        let Secret::Password(password) = &registration.secret else { return Ok(Some(stored.account)) };
        match self.check_password_of(&stored, password.clone(), registration.source).await {
            Ok(()) => Ok(Some(stored.account)),
            Err(Error::WrongCredentials) => Err(Error::IdempotencyMismatch),
            Err(other) => Err(other),
        }
    }

    /// The caller's account.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was deleted; [`Error::SessionInvalid`], [`Error::Unavailable`], [`Error::Internal`].
    pub async fn account(&self, caller: &Caller) -> Result<Account, Error> {
        match self.account_of(caller).await {
            Err(Error::SessionInvalid) if self.store.account(caller.account_id).await?.is_none() => {
                Err(Error::NotFound)
            }
            found => Ok(found?.account),
        }
    }

    /// The crypt string that the account of a delegated caller was given.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for other callers, [`Error::NotFound`] when there is none; [`Error::SessionInvalid`],
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn imported_credential(&self, caller: &Caller) -> Result<Credential, Error> {
        if !caller.delegated {
            return Err(Error::Forbidden);
        }
        self.account_of(caller).await?.imported.ok_or(Error::NotFound)
    }

    /// Replaces the caller's password and ends all other sessions of the account. A delegated caller needs no current
    /// password, and may give a crypt string in place of the new one.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`], [`Error::InvalidField`], [`Error::WrongCredentials`], [`Error::Forbidden`] for a system
    /// account, [`Error::RateLimited`], [`Error::SessionInvalid`], [`Error::Overloaded`], [`Error::Unavailable`],
    /// [`Error::Internal`].
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: &str,
        new: &str,
        imported: &str,
        client_address: &str,
    ) -> Result<(), Error> {
        delegated_only(caller, "imported_credential", !imported.is_empty())?;
        let proof = Proof::new(caller, current, client_address)?;
        let new = Secret::new("new_password", new, self.policy.shortest_password, imported)?;
        let stored = self.account_to_change(caller, proof).await?;
        let (credential, imported) = self.credential(new).await?;
        let changed = self
            .store
            .change_credential(&CredentialChange {
                account: caller.account_id,
                old: (!caller.delegated).then_some(&stored.credential),
                new: &credential,
                imported,
                keep: caller.session_id,
                now: self.clock.now(),
            })
            .await;
        self.forget_exchanges();
        if !changed? {
            return Err(lost_race(caller));
        }
        tracing::info!(
            account = %caller.account_id,
            session = %caller.session_id,
            delegated = caller.delegated,
            imported,
            "password changed"
        );
        Ok(())
    }

    /// Replaces or removes the caller's e-mail address. A delegated caller needs no current password, and may give any
    /// text.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`], [`Error::InvalidField`], [`Error::EmailTaken`], [`Error::WrongCredentials`],
    /// [`Error::Forbidden`] for a system account, [`Error::RateLimited`], [`Error::SessionInvalid`],
    /// [`Error::Overloaded`], [`Error::Unavailable`], [`Error::Internal`].
    pub async fn change_email(
        &self,
        caller: &Caller,
        current: &str,
        new: &str,
        any_email: bool,
        client_address: &str,
    ) -> Result<Account, Error> {
        delegated_only(caller, "any_email", any_email)?;
        let proof = Proof::new(caller, current, client_address)?;
        let new = email(new, any_email)?;
        self.account_to_change(caller, proof).await?;
        let changed = self.store.change_email(caller.account_id, new.as_ref()).await;
        self.forget_exchanges();
        match changed? {
            EmailChanged::Done(account) => {
                tracing::info!(
                    account = %account.id,
                    session = %caller.session_id,
                    delegated = caller.delegated,
                    "e-mail address changed"
                );
                Ok(account)
            }
            EmailChanged::Taken => Err(Error::EmailTaken),
            EmailChanged::NoAccount => Err(Error::SessionInvalid),
        }
    }

    /// Deletes the caller's account and ends all its sessions. A delegated caller needs no current password.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::WrongCredentials`], [`Error::Forbidden`] for a system account,
    /// [`Error::RateLimited`], [`Error::SessionInvalid`], [`Error::Overloaded`], [`Error::Unavailable`],
    /// [`Error::Internal`].
    pub async fn delete_account(
        &self,
        caller: &Caller,
        current: &str,
        client_address: &str,
    ) -> Result<(), Error> {
        let proof = Proof::new(caller, current, client_address)?;
        let stored = self.account_to_change(caller, proof).await?;
        let credential = (!caller.delegated).then_some(&stored.credential);
        let deleted = self.store.delete_account(caller.account_id, credential).await;
        self.forget_exchanges();
        if !deleted? {
            return Err(lost_race(caller));
        }
        tracing::info!(
            account = %caller.account_id,
            session = %caller.session_id,
            delegated = caller.delegated,
            "account deleted"
        );
        Ok(())
    }

    /// The account of a caller who has shown that they may change it.
    async fn account_to_change(&self, caller: &Caller, proof: Proof) -> Result<StoredAccount, Error> {
        let stored = self.account_of(caller).await?;
        if stored.account.role == Role::System {
            return Err(Error::Forbidden);
        }
        if let Some(password) = proof.password {
            self.check_password_of(&stored, password, proof.source).await?;
        }
        Ok(stored)
    }

    /// The credential for what somebody is to sign in with, and whether it was imported.
    async fn credential(&self, secret: Secret) -> Result<(Credential, bool), Error> {
        match secret {
            Secret::Password(password) => Ok((self.hasher.turn().await?.hash(password).await?, false)),
            Secret::Imported(credential) => Ok((credential, true)),
        }
    }
}

impl Secret {
    /// A password, called `field` by the request, or a crypt string.
    fn new(field: &'static str, password: &str, shortest: usize, imported: &str) -> Result<Self, Error> {
        if imported.is_empty() {
            return Password::to_set(field, password, shortest).map(Self::Password);
        }
        if !password.is_empty() {
            let rule = Rule::TogetherWith(field);
            return Err(Error::InvalidField { field: "imported_credential", rule });
        }
        Credential::import(imported).map(Self::Imported)
    }
}

/// What shows that a caller may change their account.
struct Proof {
    /// The current password; `None` for a delegated caller, whose token is enough.
    password: Option<Password>,
    source: Source,
}

impl Proof {
    fn new(caller: &Caller, current: &str, client_address: &str) -> Result<Self, Error> {
        let source = Source::parse(client_address)?;
        let password = match caller.delegated {
            true => None,
            false => Some(Password::to_compare("current_password", current)?),
        };
        Ok(Self { password, source })
    }
}

fn delegated_only(caller: &Caller, field: &'static str, set: bool) -> Result<(), Error> {
    if set && !caller.delegated {
        return Err(Error::InvalidField { field, rule: Rule::WithoutDelegation });
    }
    Ok(())
}

/// Somebody else was quicker: the current password was changed in between, so it was wrong by then, or the account is
/// gone.
fn lost_race(caller: &Caller) -> Error {
    if caller.delegated { Error::SessionInvalid } else { Error::WrongCredentials }
}

fn email(given: &str, any: bool) -> Result<Option<Email>, Error> {
    if any { Email::any(given) } else { Email::parse(given) }
}

fn check_key(key: &str) -> Result<Option<String>, Error> {
    let refuse = |rule| Err(Error::InvalidField { field: "idempotency_key", rule });
    if key.len() > IDEMPOTENCY_KEY_BYTES {
        return refuse(Rule::LongerThanBytes(IDEMPOTENCY_KEY_BYTES));
    }
    if key.chars().any(char::is_control) {
        return refuse(Rule::InvisibleCharacter);
    }
    Ok(Some(key.to_owned()).filter(|key| !key.is_empty()))
}

/// SHA-256 over all of a registration but its password, each text with its length before it.
fn fingerprint(registration: &Registration) -> [u8; 32] {
    let mut hash = Sha256::new();
    let imported = match &registration.secret {
        Secret::Password(_) => "",
        Secret::Imported(credential) => credential.reveal(),
    };
    for field in [
        registration.username.as_str(),
        registration.email.as_ref().map_or("", Email::as_str),
        imported,
        &registration.external_reference,
    ] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    hash.update(registration.min_password_length.to_le_bytes());
    hash.update([u8::from(registration.any_email)]);
    hash.finalize().into()
}
