//! What is kept, in SQL that is written once for SQLite and PostgreSQL.
//!
//! The store speaks the domain: every method is one operation of one caller, in one transaction, and asks
//! [`authorize`](crate::domain::authorize::authorize) about every node that it touches. Look-ups return `Option` or
//! [`domain::Error::NotFound`](crate::domain::error::Error::NotFound); time is passed in.
//!
//! # Order of changes
//!
//! Every writing transaction of a space first locks the space's row, but for those that count a download or sweep away what
//! expired long ago. On PostgreSQL that makes the writers of one space run one after another, as SQLite's single writer does
//! anyway, so three things hold on both: change numbers have no gaps and follow the order of commits; what a rule has read
//! cannot change before the commit (no cycles, no quota overrun); repeated requests find each other's answers.

mod answers;
mod buffer;
mod commits;
mod folders;
mod freshness;
mod links;
mod lists;
mod lookup;
mod names;
mod nodes;
mod opening;
mod purge;
mod retention;
mod roots;
mod row;
mod stride;
mod sweep;
mod trash;
mod uploads;
mod work;

#[cfg(test)]
mod conformance;

use std::sync::Arc;

use holdall_sql::{Database, Dialect, Migration, Migrations, Transient, sql};
use moka::sync::Cache;
use tokio::sync::OnceCell;

use crate::domain;
use crate::domain::buffer::Limits;
use crate::domain::id::{AccountId, NodeId, SpaceId};
use crate::domain::space::{Home, Owner, Space};
use commits::Commits;
use freshness::Freshness;
pub use freshness::Moment;
pub use links::{LinkFilter, LinkedNode};
pub use lists::Named;
pub use purge::Purge;
use stride::Strides;

/// The schema.
pub const MIGRATIONS: Migrations = Migrations {
    sqlite: &[Migration {
        version: 1,
        name: "schema",
        sql: include_str!("../migrations/sqlite/0001_schema.sql"),
    }],
    postgres: &[Migration {
        version: 1,
        name: "schema",
        sql: include_str!("../migrations/postgres/0001_schema.sql"),
    }],
};

/// Homes kept in memory: about 100 bytes each.
const CACHED_HOMES: u64 = 100_000;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] domain::error::Error),
    /// The database could not do it, or did not say whether it did.
    #[error(transparent)]
    Sql(#[from] holdall_sql::Error),
    /// Nothing was done, and the same may succeed in a moment.
    #[error("the database is busy or out of reach")]
    Busy,
    /// Whether it happened is not known.
    #[error("the outcome is not known")]
    OutcomeUnknown,
    /// The database holds what this program would never write.
    #[error("the database holds a {0} that makes no sense")]
    Corrupt(&'static str),
    /// The system has no randomness to give.
    #[error("no randomness")]
    Random(#[from] getrandom::Error),
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::Sql(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// What the store needs to know beside the rules.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The quota of a new space, in bytes.
    pub default_quota: u64,
    /// The quota of a new space of the installation itself, in bytes.
    pub system_quota: u64,
    /// How long a begun upload may take, in microseconds.
    pub upload_lifetime: i64,
    /// Uploads of at most this many bytes reserve no room: the commit of so little hardly ever fails for want of it, and a
    /// reservation costs a transaction.
    pub reserve_above: u64,
    /// What buffers keep.
    pub buffer: Limits,
}

/// The database of spaces. Clones share everything.
#[derive(Clone)]
pub struct Store {
    db: Database,
    terms: Terms,
    homes: Cache<AccountId, Home>,
    freshness: Freshness,
    strides: Strides,
    commits: Commits,
    feed_epoch: Arc<OnceCell<String>>,
}

impl Store {
    /// A store on an open database with the schema [`MIGRATIONS`]. A SQLite database has one store at a time.
    #[must_use]
    pub fn new(db: Database, terms: Terms) -> Self {
        let freshness = match db.dialect() {
            Dialect::Sqlite => Freshness::watching(),
            Dialect::Postgres => Freshness::asking(db.clone()),
        };
        Self {
            strides: Strides::new(&db),
            db,
            terms,
            homes: Cache::new(CACHED_HOMES),
            freshness,
            commits: Commits::default(),
            feed_epoch: Arc::default(),
        }
    }

    /// The present moment of a space: as long as it is the same, what was read after it was asked for is still so. `None` while
    /// the space is changing, and where there is none.
    pub async fn moment(&self, space: SpaceId) -> Result<Option<Moment>> {
        self.freshness.moment(space).await
    }

    /// The account's own space, made with its root folder when it is not there yet.
    pub async fn home(&self, account: AccountId, owner: Owner, now: i64) -> Result<Home> {
        if let Some(home) = self.homes.get(&account) {
            return Ok(home);
        }
        let home = match self.find_home(account).await? {
            Some(home) => home,
            None => {
                holdall_sql::retry(async || self.make_home(account, owner, now).await).await?;
                self.find_home(account).await?.ok_or(Error::Corrupt("space"))?
            }
        };
        self.homes.insert(account, home);
        Ok(home)
    }

    async fn find_home(&self, account: AccountId) -> Result<Option<Home>> {
        let row = sql("SELECT space_id, root_id FROM spaces WHERE owner_id = $1")
            .bind(account.to_string())
            .fetch_optional(&self.db)
            .await?;
        row.map(|row| Ok(Home { account, space: row::id(&row, 0)?, root: row::id(&row, 1)? })).transpose()
    }

    /// The home that a space is.
    pub(super) async fn home_of(&self, space: SpaceId) -> Result<Home> {
        let row = sql("SELECT owner_id, space_id, root_id FROM spaces WHERE space_id = $1")
            .bind(space.to_string())
            .fetch_one(&self.db)
            .await?;
        Ok(Home { account: row::id(&row, 0)?, space: row::id(&row, 1)?, root: row::id(&row, 2)? })
    }

    /// Does nothing when another call was first.
    async fn make_home(&self, account: AccountId, owner: Owner, now: i64) -> Result<()> {
        let (space, root) = (SpaceId::new(now), NodeId::new(now));
        let quota = match owner {
            Owner::Person => self.terms.default_quota,
            Owner::System => self.terms.system_quota,
        };
        let mut tx = self.db.begin().await?;
        let made = sql("INSERT INTO spaces (space_id, owner_id, root_id, quota_bytes, moment, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (owner_id) DO NOTHING")
        .bind(space.to_string())
        .bind(account.to_string())
        .bind(root.to_string())
        .bind(row::int(quota)?)
        .bind(Moment::fresh().number())
        .bind(now)
        .execute(&mut tx)
        .await?;
        if made == 1 {
            sql("INSERT INTO nodes (node_id, space_id, name, kind, revision, created_at, modified_at)
                 VALUES ($1, $2, '', 1, 0, $3, $3)")
            .bind(root.to_string())
            .bind(space.to_string())
            .bind(now)
            .execute(&mut tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// The space with its counters as they are now.
    pub async fn space(&self, home: &Home) -> Result<Space> {
        let row = sql(
            "SELECT quota_bytes, used_bytes, reserved_bytes, change_sequence FROM spaces WHERE space_id = $1",
        )
        .bind(home.space.to_string())
        .fetch_one(&self.db)
        .await?;
        row::space(&row, home)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.db.ping().await?)
    }

    /// Closes the database when what is running is done.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
