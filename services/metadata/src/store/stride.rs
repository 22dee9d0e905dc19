//! Following names from a folder down, with one statement for many names and many who ask.
//!
//! A chain of outer joins, each on the index of names, is several times as fast as a recursive query.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use futures::FutureExt;
use futures::future::join_all;
use holdall_runtime::together::Together;
use holdall_sql::{Database, Dialect, On, Row, dynamic, sql, values};

use super::lookup::again;
use super::row::{self, node_text};
use super::{Error, Result};
use crate::domain;
use crate::domain::id::NodeId;
use crate::domain::name::Name;
use crate::domain::node::Node;
use crate::domain::policy::Policy;

/// Most names that one statement follows: SQLite joins at most 64 tables.
pub(super) const STRIDE: usize = 24;
/// Most ways that one statement follows.
const WAYS: usize = 32;

/// The end of a walk along names.
pub(super) struct Walked {
    /// The last node that is there.
    pub(super) node: Node,
    /// How many of the names led to it.
    pub(super) depth: usize,
    /// Bytes of room in its space.
    pub(super) room: u64,
    /// The policy of the folder it is in, when a name led to it.
    pub(super) folder: Policy,
    /// A file whose time is over, which still has the next name.
    pub(super) expired: Option<NodeId>,
}

/// Where to start, and at most [`STRIDE`] names.
pub(super) type Way = (NodeId, Vec<Name>);

/// Follows at most [`STRIDE`] names.
pub(super) async fn stride(on: On<'_>, from: NodeId, names: &[Name]) -> Result<Walked> {
    let text = ALONE.get(names.len()).ok_or(domain::error::Error::InvalidPath("is too deep"))?;
    let row = sql(text)
        .bind(from.to_string())
        .bind_all(names.iter().map(Name::as_str))
        .fetch_optional(on)
        .await?
        .ok_or(domain::error::Error::NotFound)?;
    walked(&row)
}

/// Follows several ways; `None` where the start is not there.
pub(super) async fn strides<'a>(on: impl Into<On<'a>>, ways: &[Way]) -> Result<Vec<Option<Walked>>> {
    let mut on = on.into();
    let mut ends: Vec<Option<Walked>> = ways.iter().map(|_| None).collect();
    for (len, alike) in by_length(ways) {
        for some in alike.chunks(WAYS) {
            for (index, walked) in together(again(&mut on), len, some).await? {
                if let Some(end) = ends.get_mut(index) {
                    *end = Some(walked);
                }
            }
        }
    }
    Ok(ends)
}

/// Ways with their indexes, by how many names they have.
fn by_length(ways: &[Way]) -> BTreeMap<usize, Vec<(usize, &Way)>> {
    let mut lengths: BTreeMap<usize, Vec<(usize, &Way)>> = BTreeMap::new();
    for (index, way) in ways.iter().enumerate() {
        lengths.entry(way.1.len()).or_default().push((index, way));
    }
    lengths
}

/// Follows at most [`WAYS`] ways of `len` names each with one statement.
async fn together(on: On<'_>, len: usize, ways: &[(usize, &Way)]) -> Result<Vec<(usize, Walked)>> {
    if len > STRIDE {
        return Err(domain::error::Error::InvalidPath("is too deep").into());
    }
    // The last is repeated, so that few different statements are prepared.
    let count = ways.len().next_power_of_two();
    let repeated = ways.iter().chain(ways.last().into_iter().cycle()).take(count);
    let start =
        format!("(VALUES {}) AS way JOIN nodes n0 ON n0.node_id = way.column2", values(1, len + 2, count));
    let text = text(len, &start, |at| format!("way.column{}", at + 2), ", way.column1", "");
    let mut statement = dynamic(text);
    for (at, (_, (from, names))) in repeated.enumerate() {
        statement = statement
            .bind(i64::try_from(at).unwrap_or(i64::MAX))
            .bind(from.to_string())
            .bind_all(names.iter().map(Name::as_str));
    }
    let mut ends = Vec::with_capacity(ways.len());
    for row in statement.fetch_all(on).await? {
        let at = usize::try_from(row::count(&row, 4)?).unwrap_or(usize::MAX);
        if let Some((index, _)) = ways.get(at) {
            ends.push((*index, walked(&row)?));
        }
    }
    Ok(ends)
}

fn walked(row: &Row) -> Result<Walked> {
    Ok(Walked {
        node: row::node(&row.get::<String>(0)?)?,
        depth: usize::try_from(row::count(row, 1)?).unwrap_or(usize::MAX),
        // A lowered quota leaves less than nothing.
        room: u64::try_from(row.get::<i64>(2)?).unwrap_or_default(),
        folder: row::policy(&row.get::<Option<String>>(3)?.unwrap_or_default())?,
        expired: None,
    })
}

/// The statements that follow 0, 1, 2, … names, by themselves.
static ALONE: LazyLock<Vec<String>> = LazyLock::new(|| {
    (0..=STRIDE)
        .map(|names| text(names, "nodes n0", |at| format!("${}", at + 1), "", "WHERE n0.node_id = $1"))
        .collect()
});

/// The statement that follows `names` names, which `name` gives from 1 on, from the node n0 that `start` gives.
fn text(names: usize, start: &str, name: impl Fn(usize) -> String, more: &str, end: &str) -> String {
    let mut joins = String::new();
    let mut found = String::new();
    let mut depth = String::new();
    let mut policy = String::new();
    for at in (1..=names).rev() {
        // Writing to a string does not fail.
        let _ = write!(found, "n{at}.node_id, ");
        let _ = write!(depth, "WHEN n{at}.node_id IS NOT NULL THEN {at} ");
        let _ = write!(policy, "WHEN n{at}.node_id IS NOT NULL THEN n{}.policy ", at - 1);
    }
    for at in 1..=names {
        let _ = write!(
            joins,
            "LEFT JOIN nodes n{at} ON n{at}.parent_id = n{}.node_id AND n{at}.name = {} AND n{at}.trashed_at IS NULL ",
            at - 1,
            name(at)
        );
    }
    format!(
        "SELECT {}, CAST(CASE {depth}WHEN n0.node_id IS NOT NULL THEN 0 END AS BIGINT),
            s.quota_bytes - s.used_bytes - s.reserved_bytes,
            CASE {policy}WHEN n0.node_id IS NULL THEN n0.policy END{more}
         FROM {start} {joins}
         JOIN nodes n ON n.node_id = COALESCE({found}n0.node_id, NULL)
         JOIN spaces s ON s.space_id = n.space_id
         LEFT JOIN versions v ON v.version_id = n.version_id
         {end}",
        node_text!()
    )
}

/// Follows ways for all who ask at a time. Clones ask together.
#[derive(Clone)]
pub(super) struct Strides(Option<Together<Way, Result<Option<Walked>>>>);

impl Strides {
    pub(super) fn new(db: &Database) -> Self {
        Self(match db.dialect() {
            // There is no way to a server to be shared.
            Dialect::Sqlite => None,
            Dialect::Postgres => {
                let db = db.clone();
                Some(Together::new(WAYS, move |ways| answer(db.clone(), ways).boxed()))
            }
        })
    }

    /// The first stride along `names`; `None` where nothing is gained by asking together.
    pub(super) async fn from(&self, from: NodeId, names: &[Name]) -> Result<Option<Walked>> {
        let Some(together) = &self.0 else { return Ok(None) };
        let way = (from, names.get(..STRIDE).unwrap_or(names).to_vec());
        let walked = together.ask(way).await.unwrap_or(Err(Error::Busy))?;
        Ok(Some(walked.ok_or(domain::error::Error::NotFound)?))
    }
}

async fn answer(db: Database, ways: Vec<Way>) -> Vec<Result<Option<Walked>>> {
    let mut ends: Vec<Result<Option<Walked>>> = ways.iter().map(|_| Ok(None)).collect();
    let mut put = |index: usize, end| {
        if let Some(place) = ends.get_mut(index) {
            *place = end;
        }
    };
    let lengths = by_length(&ways);
    let asked = lengths.iter().map(|(len, ways)| together(On::from(&db), *len, ways));
    for (told, ways) in join_all(asked).await.into_iter().zip(lengths.values()) {
        match told {
            Ok(told) => told.into_iter().for_each(|(index, walked)| put(index, Ok(Some(walked)))),
            Err(error) => {
                tracing::warn!(%error, waiting = ways.len(), "paths could not be followed");
                ways.iter().for_each(|(index, _)| put(*index, Err(Error::Busy)));
            }
        }
    }
    ends
}
