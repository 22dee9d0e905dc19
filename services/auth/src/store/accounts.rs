//! Accounts and how they came to be.

use holdall_sql::{Transaction, retry, sql};

use super::{Store, StoredAccount, account_columns, corrupt, number, stored_account, uuid};
use crate::domain::{Account, AccountId, Email, Error, LoginKey, Role, SessionId, Username};
use crate::password::Credential;

/// An account to be.
pub struct NewAccount<'a> {
    /// What is shown of it. Its number is not looked at: it is assigned here.
    pub account: &'a Account,
    /// What its password is compared with.
    pub credential: &'a Credential,
    /// Whether that was imported.
    pub imported: bool,
    /// What makes a repetition recognisable, if that is wanted.
    pub repeatable: Option<&'a Repeatable>,
}

/// A request that may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// The key that the caller chose.
    pub key: String,
    /// A hash of what was asked, without a password.
    pub fingerprint: [u8; 32],
    /// Keys used before this time may be used again.
    pub forgotten_before: i64,
}

/// How a registration went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// There is a new account.
    New {
        /// The number that it got.
        number: u64,
    },
    /// Another account has the username.
    UsernameTaken,
    /// Another account has the address.
    EmailTaken,
    /// The idempotency key was used before.
    Repeated,
}

/// Another credential for an account.
pub struct CredentialChange<'a> {
    /// The account.
    pub account: AccountId,
    /// The credential that it must have now; `None` for whichever it has.
    pub old: Option<&'a Credential>,
    /// What its password is going to be compared with.
    pub new: &'a Credential,
    /// Whether that was imported.
    pub imported: bool,
    /// The one session that does not end; nil for none.
    pub keep: SessionId,
    /// When.
    pub now: i64,
}

/// How a change of address went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmailChanged {
    /// The account as it is now.
    Done(Account),
    /// Another account has the address.
    Taken,
    /// There is no such account.
    NoAccount,
}

impl Store {
    /// The account that somebody names by username or address.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn account_by_login(&self, key: &LoginKey) -> Result<Option<StoredAccount>, Error> {
        let row = sql(concat!(
            "SELECT ",
            account_columns!(),
            " FROM logins l JOIN accounts a ON a.id = l.account_id WHERE l.key = $1"
        ))
        .bind(key.as_str())
        .fetch_optional(&self.db)
        .await?;
        row.as_ref().map(stored_account).transpose()
    }

    /// The account of that username; addresses do not count.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn account_by_username(&self, key: &LoginKey) -> Result<Option<StoredAccount>, Error> {
        let row = sql(concat!(
            "SELECT ",
            account_columns!(),
            " FROM logins l JOIN accounts a ON a.id = l.account_id WHERE l.key = $1 AND l.kind = 'username'"
        ))
        .bind(key.as_str())
        .fetch_optional(&self.db)
        .await?;
        row.as_ref().map(stored_account).transpose()
    }

    /// The system account of that name.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn system_account(&self, name: &Username) -> Result<Option<StoredAccount>, Error> {
        let row = sql(concat!(
            "SELECT ",
            account_columns!(),
            " FROM accounts a WHERE a.username = $1 AND a.role = 'system'"
        ))
        .bind(name.as_str())
        .fetch_optional(&self.db)
        .await?;
        row.as_ref().map(stored_account).transpose()
    }

    /// Adds a system account, which has no login, and returns its number; `None` when there is one of that name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn add_system_account(&self, new: &NewAccount<'_>) -> Result<Option<u64>, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            let number = insert_account(&mut tx, new).await?;
            if number.is_some() {
                tx.commit().await?;
            }
            Ok(number)
        })
        .await
    }

    /// The account, if that session of it lives at `now` and it may sign in.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn account_in_session(
        &self,
        account: AccountId,
        session: SessionId,
        now: i64,
    ) -> Result<Option<StoredAccount>, Error> {
        let row = sql(concat!(
            "SELECT ",
            account_columns!(),
            " FROM sessions s JOIN accounts a ON a.id = s.account_id",
            " WHERE s.id = $1 AND s.account_id = $2 AND s.revoked_at IS NULL AND s.expires_at > $3",
            " AND a.state = 'active'"
        ))
        .bind(session.to_string())
        .bind(account.to_string())
        .bind(now)
        .fetch_optional(&self.db)
        .await?;
        row.as_ref().map(stored_account).transpose()
    }

    /// The account, by its id.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn account(&self, account: AccountId) -> Result<Option<StoredAccount>, Error> {
        let row = sql(concat!("SELECT ", account_columns!(), " FROM accounts a WHERE a.id = $1"))
            .bind(account.to_string())
            .fetch_optional(&self.db)
            .await?;
        row.as_ref().map(stored_account).transpose()
    }

    /// Adds an account, unless one of its names is taken or the request is a repetition.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn add_account(&self, new: &NewAccount<'_>) -> Result<Registered, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            let outcome = insert(&mut tx, new).await?;
            if matches!(outcome, Registered::New { .. }) {
                tx.commit().await?;
            }
            Ok(outcome)
        })
        .await
    }

    /// The registration made with that key since `since`: the fingerprint of the request, and the account.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn registration(&self, key: &str, since: i64) -> Result<Option<(Vec<u8>, AccountId)>, Error> {
        let row =
            sql("SELECT fingerprint, account_id FROM registrations WHERE idempotency_key = $1 AND created_at >= $2")
                .bind(key)
                .bind(since)
                .fetch_optional(&self.db)
                .await?;
        row.map(|row| Ok((row.get(0)?, AccountId(uuid(&row.get::<String>(1)?)?)))).transpose()
    }

    /// Replaces the credential and ends all sessions of the account but one. False when the account is gone or has another
    /// credential than it must have.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn change_credential(&self, change: &CredentialChange<'_>) -> Result<bool, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            let changed = sql("UPDATE accounts SET credential = $3, imported = $4 \
                               WHERE id = $1 AND credential = COALESCE($2, credential)")
            .bind(change.account.to_string())
            .bind(change.old.map(Credential::reveal))
            .bind(change.new.reveal())
            .bind(change.imported.then_some(change.new.reveal()))
            .execute(&mut tx)
            .await?;
            if changed == 0 {
                return Ok(false);
            }
            sql("UPDATE sessions SET revoked_at = $3, expires_at = CASE WHEN expires_at < $3 THEN expires_at ELSE $3 END \
                 WHERE account_id = $1 AND id <> $2 AND revoked_at IS NULL")
            .bind(change.account.to_string())
            .bind(change.keep.to_string())
            .bind(change.now)
            .execute(&mut tx)
            .await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Deletes an account with its logins, sessions and registrations. False when it is gone already, or has another
    /// credential than `credential`, where that is given.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_account(
        &self,
        account: AccountId,
        credential: Option<&Credential>,
    ) -> Result<bool, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            // Logins and sessions go along.
            let deleted = sql("DELETE FROM accounts WHERE id = $1 AND credential = COALESCE($2, credential)")
                .bind(account.to_string())
                .bind(credential.map(Credential::reveal))
                .execute(&mut tx)
                .await?;
            if deleted == 0 {
                return Ok(false);
            }
            sql("DELETE FROM registrations WHERE account_id = $1")
                .bind(account.to_string())
                .execute(&mut tx)
                .await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Gives the account of that username another role; `None` when there is none, or it belongs to the installation.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn change_role(&self, key: &LoginKey, role: Role) -> Result<Option<Account>, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            let changed = sql("UPDATE accounts SET role = $2 WHERE role <> $3 \
                 AND id = (SELECT account_id FROM logins WHERE key = $1 AND kind = 'username')")
            .bind(key.as_str())
            .bind(role.name())
            .bind(Role::System.name())
            .execute(&mut tx)
            .await?;
            if changed == 0 {
                return Ok(None);
            }
            let row = sql(concat!(
                "SELECT ",
                account_columns!(),
                " FROM logins l JOIN accounts a ON a.id = l.account_id WHERE l.key = $1 AND l.kind = 'username'"
            ))
            .bind(key.as_str())
            .fetch_optional(&mut tx)
            .await?;
            let account = stored_account(&row.ok_or_else(corrupt)?)?.account;
            tx.commit().await?;
            Ok(Some(account))
        })
        .await
    }

    /// Replaces or removes the address.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn change_email(
        &self,
        account: AccountId,
        email: Option<&Email>,
    ) -> Result<EmailChanged, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            // First of all, for its lock: of two changes at once the later sees what the earlier did.
            let changed = sql("UPDATE accounts SET email = $2 WHERE id = $1")
                .bind(account.to_string())
                .bind(email.map(Email::as_str))
                .execute(&mut tx)
                .await?;
            if changed == 0 {
                return Ok(EmailChanged::NoAccount);
            }
            sql("DELETE FROM logins WHERE account_id = $1 AND kind = 'email'")
                .bind(account.to_string())
                .execute(&mut tx)
                .await?;
            if let Some(email) = email
                && !claim(&mut tx, &email.key(), account, "email").await?
            {
                return Ok(EmailChanged::Taken);
            }
            let row = sql(concat!("SELECT ", account_columns!(), " FROM accounts a WHERE a.id = $1"))
                .bind(account.to_string())
                .fetch_optional(&mut tx)
                .await?;
            let account = stored_account(&row.ok_or_else(corrupt)?)?.account;
            tx.commit().await?;
            Ok(EmailChanged::Done(account))
        })
        .await
    }
}

async fn insert(tx: &mut Transaction, new: &NewAccount<'_>) -> Result<Registered, Error> {
    let account = new.account;
    if let Some(repeatable) = new.repeatable {
        sql("DELETE FROM registrations WHERE idempotency_key = $1 AND created_at < $2")
            .bind(&repeatable.key)
            .bind(repeatable.forgotten_before)
            .execute(&mut *tx)
            .await?;
        let first = sql("INSERT INTO registrations (idempotency_key, fingerprint, account_id, created_at) \
                         VALUES ($1, $2, $3, $4) ON CONFLICT (idempotency_key) DO NOTHING")
        .bind(&repeatable.key)
        .bind(repeatable.fingerprint)
        .bind(account.id.to_string())
        .bind(account.created_at)
        .execute(&mut *tx)
        .await?;
        if first == 0 {
            return Ok(Registered::Repeated);
        }
    }
    let number = insert_account(tx, new).await?.ok_or_else(corrupt)?;
    if !claim(tx, &account.username.key(), account.id, "username").await? {
        return Ok(Registered::UsernameTaken);
    }
    if let Some(email) = &account.email
        && !claim(tx, &email.key(), account.id, "email").await?
    {
        return Ok(Registered::EmailTaken);
    }
    Ok(Registered::New { number })
}

/// Adds the row of an account with the next number. `None` when there is a system account of its name, if it is one.
async fn insert_account(tx: &mut Transaction, new: &NewAccount<'_>) -> Result<Option<u64>, Error> {
    let account = new.account;
    // Locks the counter until the transaction ends: a number is only given out again when nobody got it.
    let next = sql("UPDATE counters SET value = value + 1 WHERE name = 'accounts' RETURNING value")
        .fetch_one(&mut *tx)
        .await?
        .get::<i64>(0)?;
    let inserted = sql("INSERT INTO accounts (id, number, username, email, credential, imported, role, state, \
                        external_reference, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $9) \
                        ON CONFLICT (username) WHERE role = 'system' DO NOTHING")
    .bind(account.id.to_string())
    .bind(next)
    .bind(account.username.as_str())
    .bind(account.email.as_ref().map(Email::as_str))
    .bind(new.credential.reveal())
    .bind(new.imported.then_some(new.credential.reveal()))
    .bind(account.role.name())
    .bind(&account.external_reference)
    .bind(account.created_at)
    .execute(tx)
    .await?;
    (inserted == 1).then(|| number(next)).transpose()
}

/// Takes a key for an account. An account whose username is its address has one key for both. False when another account
/// has it; waits for a transaction that is about to take it.
async fn claim(tx: &mut Transaction, key: &LoginKey, account: AccountId, kind: &str) -> Result<bool, Error> {
    let taken =
        sql("INSERT INTO logins (key, account_id, kind) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING")
            .bind(key.as_str())
            .bind(account.to_string())
            .bind(kind)
            .execute(&mut *tx)
            .await?;
    if taken == 1 {
        return Ok(true);
    }
    let holder =
        sql("SELECT account_id FROM logins WHERE key = $1").bind(key.as_str()).fetch_optional(tx).await?;
    Ok(holder.is_some_and(|row| row.get::<String>(0).is_ok_and(|holder| holder == account.to_string())))
}
