//! Names that are free in a folder.

use std::collections::{HashMap, HashSet};

use holdall_sql::sql;

use super::work::Work;
use super::{Error, Result, row};
use crate::domain;
use crate::domain::id::NodeId;
use crate::domain::name::Name;
use crate::domain::sibling::{MOST_DIGITS, Siblings};

impl Work {
    /// The name that `node` can have in a folder: the one it is to have, or with `keep_both` the next that is free.
    ///
    /// # Errors
    /// [`NameConflict`](domain::error::Error::NameConflict) when the name is taken.
    pub(super) async fn name_for(
        &mut self,
        node: NodeId,
        folder: NodeId,
        name: &Name,
        keep_both: bool,
    ) -> Result<String> {
        let there = sql("SELECT node_id, expires_at FROM nodes
             WHERE parent_id = $1 AND name = $2 AND trashed_at IS NULL AND node_id <> $3")
        .bind(folder.to_string())
        .bind(name.as_str())
        .bind(node.to_string())
        .fetch_optional(self.tx().await?)
        .await?;
        let Some(there) = there else { return Ok(name.as_str().to_owned()) };
        if there.get::<Option<i64>>(1)?.is_some_and(|at| at <= self.now) {
            self.purge_files(&[row::id(&there, 0)?]).await?;
            return Ok(name.as_str().to_owned());
        }
        if !keep_both {
            return Err(domain::error::Error::NameConflict.into());
        }
        self.next_name(folder, name, Some(node), &HashSet::new()).await
    }

    /// The next name that is free in a folder beside `name`, and not promised to another by `taken`. What `node` has is free for
    /// it.
    pub(super) async fn next_name(
        &mut self,
        folder: NodeId,
        name: &Name,
        node: Option<NodeId>,
        taken: &HashSet<(NodeId, String)>,
    ) -> Result<String> {
        let siblings = Siblings::of(name);
        let mut range = Default::default();
        let mut there = HashMap::new();
        for digits in 1..=MOST_DIGITS {
            let next = siblings.range(digits);
            if next != range {
                there = self.names_in(folder, &next, node).await?;
                range = next;
            }
            let is_free = |name: &str| {
                !matches!(there.get(name), Some(None)) && !taken.contains(&(folder, name.to_owned()))
            };
            let Some(free) = siblings.first(digits, is_free) else { continue };
            if let Some(&Some(expired)) = there.get(&free) {
                self.purge_files(&[expired]).await?;
            }
            return Ok(free);
        }
        Err(domain::error::Error::NameConflict.into())
    }

    /// The names of a range that nodes other than `node` have in a folder, each with the file whose time is over, if that has it.
    async fn names_in(
        &mut self,
        folder: NodeId,
        (from, before): &(String, String),
        node: Option<NodeId>,
    ) -> Result<HashMap<String, Option<NodeId>>> {
        // All of them as one text: see `row`.
        let names: Option<String> = sql(
            "SELECT string_agg(format('%s\x1f%s', CASE WHEN expires_at <= $4 THEN node_id END, name), '\x1e') FROM nodes
             WHERE parent_id = $1 AND name >= $2 AND name < $3 AND trashed_at IS NULL AND node_id <> $5",
        )
        .bind(folder.to_string())
        .bind(from)
        .bind(before)
        .bind(self.now)
        .bind(node.map(|id| id.to_string()).unwrap_or_default())
        .fetch_one(self.tx().await?)
        .await?
        .get(0)?;
        let mut there = HashMap::new();
        for entry in names.iter().flat_map(|names| names.split('\x1e')) {
            let (expired, name) = entry.split_once('\x1f').ok_or(Error::Corrupt("row"))?;
            let expired = if expired.is_empty() { None } else { NodeId::parse(expired) };
            there.insert(name.to_owned(), expired);
        }
        Ok(there)
    }
}
