//! Whether what was read from a space is still so.
//!
//! Every change of a space that answers could show ends its moment, and no moment comes back: not after a restart, a restored
//! backup, or a fail-over. So what was read after a moment was asked for, and is kept with it, is right for as long as the
//! moment is the present one, whatever happened while it was being read.
//!
//! On SQLite this process is the only writer, so it [watches] and knows without asking the database. On PostgreSQL others write
//! too, and the moment stands in the row of the space, where whoever needs it [asks] for it.
//!
//! [watches]: watched
//! [asks]: asked

mod asked;
mod watched;

use holdall_sql::Database;
use uuid::{NoContext, Timestamp, Uuid};

use super::Result;
use crate::domain::id::SpaceId;
use asked::Asked;
use watched::{Changing, Watched};

/// A moment in the life of a space: equal moments have no change between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment(i64);

impl Moment {
    /// One that never was before.
    pub(super) fn fresh() -> Self {
        // The second half of a UUIDv7 is random.
        let (_, random) = Uuid::new_v7(Timestamp::now(NoContext)).as_u64_pair();
        Self(random.cast_signed())
    }

    /// As it is stored and sent.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }
}

/// Tells the moments of spaces. Clones share what they know.
#[derive(Clone)]
pub(super) enum Freshness {
    Watched(Watched),
    Asked(Asked),
}

impl Freshness {
    /// For a database that only this process writes.
    pub(super) fn watching() -> Self {
        Self::Watched(Watched::default())
    }

    /// For a database that others write too.
    pub(super) fn asking(db: Database) -> Self {
        Self::Asked(Asked::new(db))
    }

    /// The present moment of a space, never one that was over at this call; `None` while the space is changing, and where there
    /// is none.
    pub(super) async fn moment(&self, space: SpaceId) -> Result<Option<Moment>> {
        match self {
            Self::Watched(watched) => Ok(watched.moment(space)),
            Self::Asked(asked) => asked.moment(space).await,
        }
    }

    /// Says that a space is changing, until the value is dropped. To be held from before a commit until it is certain that
    /// nothing of it happens any more.
    pub(super) fn changing(&self, space: SpaceId) -> Option<Changing> {
        match self {
            Self::Watched(watched) => Some(watched.changing(space)),
            // The commit itself brings the next moment.
            Self::Asked(_) => None,
        }
    }
}
