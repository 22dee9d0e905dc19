//! Sessions.

use holdall_sql::{Row, Transaction, retry, sql};

use super::{ACCOUNT_COLUMNS, Store, account_columns, corrupt, fixed, stored_account, uuid};
use crate::domain::{Account, AccountId, Error, HandleHash, Session, SessionId};
use crate::password::Credential;

/// A session to be.
pub struct NewSession<'a> {
    /// What is shown of it.
    pub session: &'a Session,
    /// By what it is found.
    pub handle: HandleHash,
    /// The credential that the password was compared with.
    pub credential: &'a Credential,
    /// What to replace that credential with.
    pub stronger: Option<&'a Credential>,
    /// Where a live session of the same account, kind and device name will do that was begun with this set too: whether
    /// the handle of one, by its hash, can be told again.
    pub reuse: Option<&'a (dyn Fn(SessionId, HandleHash) -> bool + Send + Sync)>,
    /// How many live sessions the account may have; the oldest ones beyond that end.
    pub most: u32,
}

/// How the beginning of a session went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAdded {
    /// It began.
    Begun {
        /// How many others ended, because there were too many.
        ended: u64,
    },
    /// One that lives will do.
    Reused {
        /// As it is now.
        session: Session,
        /// By what it is found.
        handle: HandleHash,
    },
    /// The account has another credential by now, is disabled or gone.
    Refused,
}

/// A session that lives, and its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSession {
    /// The session.
    pub session: Session,
    /// Its account now.
    pub account: Account,
}

/// Where a page of sessions ends: the time of creation and the id of its last one.
pub type SessionPosition = (i64, String);

macro_rules! session_columns {
    () => {
        "s.id, s.account_id, s.kind, s.device_name, s.created_at, s.last_used_at, s.expires_at, s.absolute_expires_at"
    };
}

/// How many columns that are.
const SESSION_COLUMNS: usize = 8;

fn session(row: &Row) -> Result<Session, Error> {
    session_from(row, 0)
}

/// The session in the columns from `first` on.
fn session_from(row: &Row, first: usize) -> Result<Session, Error> {
    Ok(Session {
        id: SessionId(uuid(&row.get::<String>(first)?)?),
        account_id: AccountId(uuid(&row.get::<String>(first + 1)?)?),
        kind: row.get::<String>(first + 2)?.parse().map_err(|()| corrupt())?,
        device_name: row.get(first + 3)?,
        created_at: row.get(first + 4)?,
        last_used_at: row.get(first + 5)?,
        expires_at: row.get(first + 6)?,
        absolute_expires_at: row.get(first + 7)?,
    })
}

impl Store {
    /// Adds a session, or finds the one that is to be reused.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn add_session(&self, new: &NewSession<'_>) -> Result<SessionAdded, Error> {
        let session = new.session;
        retry(async || {
            let mut tx = self.db.begin().await?;
            // Locks the account's row: a change of password or another sign-in comes before or after, and never in between.
            let signed_in = sql("UPDATE accounts SET signed_in_at = $3, credential = COALESCE($4, credential) \
                                 WHERE id = $1 AND credential = $2 AND state = 'active'")
            .bind(session.account_id.to_string())
            .bind(new.credential.reveal())
            .bind(session.created_at)
            .bind(new.stronger.map(Credential::reveal))
            .execute(&mut tx)
            .await?;
            if signed_in == 0 {
                return Ok(SessionAdded::Refused);
            }
            if let Some((session, handle)) = reusable(&mut tx, new).await? {
                tx.commit().await?;
                return Ok(SessionAdded::Reused { session, handle });
            }
            sql("INSERT INTO sessions (id, account_id, handle_hash, kind, device_name, created_at, last_used_at, \
                 expires_at, absolute_expires_at, reusable) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
            .bind(session.id.to_string())
            .bind(session.account_id.to_string())
            .bind(new.handle.0)
            .bind(session.kind.name())
            .bind(&session.device_name)
            .bind(session.created_at)
            .bind(session.last_used_at)
            .bind(session.expires_at)
            .bind(session.absolute_expires_at)
            .bind(new.reuse.is_some())
            .execute(&mut tx)
            .await?;
            let ended = sql("UPDATE sessions SET revoked_at = $2, expires_at = $2 WHERE id IN \
                             (SELECT id FROM sessions WHERE account_id = $1 AND revoked_at IS NULL AND expires_at > $2 \
                             AND id <> $3 ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5)")
            .bind(session.account_id.to_string())
            .bind(session.created_at)
            .bind(session.id.to_string())
            .bind(i64::MAX)
            .bind(new.most.saturating_sub(1))
            .execute(&mut tx)
            .await?;
            tx.commit().await?;
            Ok(SessionAdded::Begun { ended })
        })
        .await
    }

    /// The session of a handle, if it lives at `now` and its account may sign in.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn session_by_handle(
        &self,
        handle: HandleHash,
        now: i64,
    ) -> Result<Option<FoundSession>, Error> {
        let row = sql(concat!(
            "SELECT ",
            account_columns!(),
            ", ",
            session_columns!(),
            " FROM sessions s JOIN accounts a ON a.id = s.account_id",
            " WHERE s.handle_hash = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND a.state = 'active'"
        ))
        .bind(handle.0)
        .bind(now)
        .fetch_optional(&self.db)
        .await?;
        row.map(|row| {
            let session = session_from(&row, ACCOUNT_COLUMNS)?;
            Ok(FoundSession { session, account: stored_account(&row)?.account })
        })
        .transpose()
    }

    /// Moves the end of a live session to `expires_at`, if that is later, and notes its use. Returns the end as it is
    /// now; `None` when the session has ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn extend_session(
        &self,
        id: SessionId,
        expires_at: i64,
        now: i64,
    ) -> Result<Option<i64>, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            let row = sql("UPDATE sessions SET last_used_at = $3, \
                           expires_at = CASE WHEN expires_at < $2 THEN $2 ELSE expires_at END \
                           WHERE id = $1 AND revoked_at IS NULL AND expires_at > $3 RETURNING expires_at")
            .bind(id.to_string())
            .bind(expires_at)
            .bind(now)
            .fetch_optional(&mut tx)
            .await?;
            let Some(row) = row else { return Ok(None) };
            let expires_at = row.get(0)?;
            tx.commit().await?;
            Ok(Some(expires_at))
        })
        .await
    }

    /// Replaces the handle of a live session by `new`, and its lifetime by that of `rotated`. False when the session has ended,
    /// or has another handle by now.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn rotate_session(
        &self,
        old: HandleHash,
        new: HandleHash,
        rotated: &Session,
        now: i64,
    ) -> Result<bool, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            let replaced = sql("UPDATE sessions SET handle_hash = $3, last_used_at = $4, expires_at = $5, \
                                absolute_expires_at = $6 \
                                WHERE id = $1 AND handle_hash = $2 AND revoked_at IS NULL AND expires_at > $4")
            .bind(rotated.id.to_string())
            .bind(old.0)
            .bind(new.0)
            .bind(now)
            .bind(rotated.expires_at)
            .bind(rotated.absolute_expires_at)
            .execute(&mut tx)
            .await?;
            tx.commit().await?;
            Ok(replaced == 1)
        })
        .await
    }

    /// Notes that a session was used. A loss of power may undo it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn touch_session(&self, id: SessionId, now: i64) -> Result<(), Error> {
        let mut tx = self.db.begin_relaxed().await?;
        sql("UPDATE sessions SET last_used_at = $2 WHERE id = $1 AND last_used_at < $2")
            .bind(id.to_string())
            .bind(now)
            .execute(&mut tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Live sessions of an account, the newest first, from after `after`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Internal`].
    pub async fn sessions(
        &self,
        account: AccountId,
        after: Option<&SessionPosition>,
        limit: u32,
        now: i64,
    ) -> Result<Vec<Session>, Error> {
        let rows = match after {
            None => sql(concat!(
                "SELECT ",
                session_columns!(),
                " FROM sessions s WHERE s.account_id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2",
                " ORDER BY s.created_at DESC, s.id DESC LIMIT $3"
            ))
            .bind(account.to_string())
            .bind(now)
            .bind(limit),
            Some((created_at, id)) => sql(concat!(
                "SELECT ",
                session_columns!(),
                " FROM sessions s WHERE s.account_id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2",
                " AND (s.created_at, s.id) < ($4, $5) ORDER BY s.created_at DESC, s.id DESC LIMIT $3"
            ))
            .bind(account.to_string())
            .bind(now)
            .bind(limit)
            .bind(*created_at)
            .bind(id),
        }
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(session).collect()
    }

    /// Ends a session of an account. False when the account never had it, or so long ago that it was swept.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn revoke_session(&self, account: AccountId, id: SessionId, now: i64) -> Result<bool, Error> {
        retry(async || {
            let mut tx = self.db.begin().await?;
            let ended = sql("UPDATE sessions SET revoked_at = $3, \
                             expires_at = CASE WHEN expires_at < $3 THEN expires_at ELSE $3 END \
                             WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL")
            .bind(id.to_string())
            .bind(account.to_string())
            .bind(now)
            .execute(&mut tx)
            .await?;
            if ended == 1 {
                tx.commit().await?;
                return Ok(true);
            }
            let known = sql("SELECT s.id FROM sessions s WHERE s.id = $1 AND s.account_id = $2")
                .bind(id.to_string())
                .bind(account.to_string())
                .fetch_optional(&mut tx)
                .await?;
            Ok(known.is_some())
        })
        .await
    }
}

/// The newest live session that can stand in for the new one, with its use noted.
async fn reusable(
    tx: &mut Transaction,
    new: &NewSession<'_>,
) -> Result<Option<(Session, HandleHash)>, Error> {
    let Some(fits) = new.reuse else { return Ok(None) };
    let (wanted, now) = (new.session, new.session.created_at);
    let rows = sql(concat!(
        "SELECT ",
        session_columns!(),
        ", s.handle_hash FROM sessions s WHERE s.account_id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2",
        " AND s.reusable = 1 AND s.kind = $3 AND s.device_name = $4 ORDER BY s.created_at DESC, s.id DESC"
    ))
    .bind(wanted.account_id.to_string())
    .bind(now)
    .bind(wanted.kind.name())
    .bind(&wanted.device_name)
    .fetch_all(&mut *tx)
    .await?;
    for row in rows {
        let (mut session, handle) = (session(&row)?, HandleHash(fixed(row.get(SESSION_COLUMNS)?)?));
        if fits(session.id, handle) {
            sql("UPDATE sessions SET last_used_at = $2 WHERE id = $1")
                .bind(session.id.to_string())
                .bind(now)
                .execute(tx)
                .await?;
            session.last_used_at = now;
            return Ok(Some((session, handle)));
        }
    }
    Ok(None)
}
