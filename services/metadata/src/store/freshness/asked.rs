//! Moments of spaces that others change too: read from their rows, by one statement for all who ask at a time.

use std::collections::{BTreeSet, HashMap};

use futures::FutureExt;
use holdall_runtime::together::Together;
use holdall_sql::{Database, dynamic};

use super::super::row::{self, list};
use super::super::{Error, Result};
use super::Moment;
use crate::domain::id::SpaceId;

/// Most who are answered by one statement.
const BATCH: usize = 128;

/// Asks. Clones ask together.
#[derive(Clone)]
pub(in super::super) struct Asked(Together<SpaceId, Result<Option<Moment>>>);

impl Asked {
    pub(super) fn new(db: Database) -> Self {
        Self(Together::new(BATCH, move |spaces| answer(db.clone(), spaces).boxed()))
    }

    /// See [`Freshness::moment`](super::Freshness::moment).
    pub(super) async fn moment(&self, space: SpaceId) -> Result<Option<Moment>> {
        self.0.ask(space).await.unwrap_or(Err(Error::Busy))
    }
}

async fn answer(db: Database, spaces: Vec<SpaceId>) -> Vec<Result<Option<Moment>>> {
    let moments = read(&db, spaces.iter().copied().collect()).await;
    if let Err(error) = &moments {
        tracing::warn!(%error, waiting = spaces.len(), "moments of spaces could not be read");
    }
    let moment = |space| match &moments {
        Ok(moments) => Ok(moments.get(&space).copied()),
        Err(_) => Err(Error::Busy),
    };
    spaces.into_iter().map(moment).collect()
}

async fn read(db: &Database, spaces: BTreeSet<SpaceId>) -> Result<HashMap<SpaceId, Moment>> {
    let (ids, placeholders) = list(spaces.iter().map(SpaceId::to_string).collect(), 1);
    let rows = dynamic(format!("SELECT space_id, moment FROM spaces WHERE space_id IN {placeholders}"))
        .bind_all(ids)
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| Ok((row::id(row, 0)?, Moment(row.get(1)?)))).collect()
}
