//! Sessions.

use holdall_sql::{Row, retry, sql};

use super::{Store, corrupt, role, uuid};
use crate::domain::{AccountId, Error, HandleHash, Role, Session, SessionId};
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
}

/// A session that lives, and what its account may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSession {
    /// The session.
    pub session: Session,
    /// The role of its account now.
    pub role: Role,
}

/// Where a page of sessions ends: the time of creation and the id of its last one.
pub type SessionPosition = (i64, String);

macro_rules! session_columns {
    () => {
        "s.id, s.account_id, s.kind, s.device_name, s.created_at, s.last_used_at, s.expires_at, s.absolute_expires_at"
    };
}

fn session(row: &Row) -> Result<Session, Error> {
    Ok(Session {
        id: SessionId(uuid(&row.get::<String>(0)?)?),
        account_id: AccountId(uuid(&row.get::<String>(1)?)?),
        kind: row.get::<String>(2)?.parse().map_err(|()| corrupt())?,
        device_name: row.get(3)?,
        created_at: row.get(4)?,
        last_used_at: row.get(5)?,
        expires_at: row.get(6)?,
        absolute_expires_at: row.get(7)?,
    })
}

impl Store {
    /// Adds a session. False when the account has another credential by now, is disabled or gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn add_session(&self, new: &NewSession<'_>) -> Result<bool, Error> {
        let session = new.session;
        retry(async || {
            let mut tx = self.db.begin().await?;
            // Locks the account's row: a change of password comes before or after, and never in between.
            let signed_in = sql("UPDATE accounts SET signed_in_at = $3, credential = COALESCE($4, credential) \
                                 WHERE id = $1 AND credential = $2 AND state = 'active'")
            .bind(session.account_id.to_string())
            .bind(&new.credential.0)
            .bind(session.created_at)
            .bind(new.stronger.map(|credential| credential.0.as_str()))
            .execute(&mut tx)
            .await?;
            if signed_in == 0 {
                return Ok(false);
            }
            sql("INSERT INTO sessions (id, account_id, handle_hash, kind, device_name, created_at, last_used_at, \
                 expires_at, absolute_expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(session.id.to_string())
            .bind(session.account_id.to_string())
            .bind(new.handle.0)
            .bind(session.kind.name())
            .bind(&session.device_name)
            .bind(session.created_at)
            .bind(session.last_used_at)
            .bind(session.expires_at)
            .bind(session.absolute_expires_at)
            .execute(&mut tx)
            .await?;
            tx.commit().await?;
            Ok(true)
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
            session_columns!(),
            ", a.role FROM sessions s JOIN accounts a ON a.id = s.account_id",
            " WHERE s.handle_hash = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND a.state = 'active'"
        ))
        .bind(handle.0)
        .bind(now)
        .fetch_optional(&self.db)
        .await?;
        row.map(|row| Ok(FoundSession { session: session(&row)?, role: role(&row.get::<String>(8)?)? }))
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
