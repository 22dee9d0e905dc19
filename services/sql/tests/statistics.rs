//! That PostgreSQL plans with what it knows of a table, soon after the table has grown.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use holdall_runtime::testing::eventually;
use holdall_sql::{Database, Migration, Migrations, insert, sql, testing};

// PostgreSQL's own statistics must not be what is found.
const SCHEMA: &str = "CREATE TABLE label (id TEXT PRIMARY KEY) WITH (autovacuum_enabled = false)";
const MIGRATIONS: Migrations =
    Migrations { sqlite: &[], postgres: &[Migration { version: 1, name: "label", sql: SCHEMA }] };

async fn fill(db: &Database, numbers: std::ops::Range<u32>) {
    let mut tx = db.begin().await.unwrap();
    let rows = numbers.map(|number| [format!("{number:100}").into()]).collect();
    insert(&mut tx, "INSERT INTO label (id)", rows, "").await.unwrap();
    tx.commit().await.unwrap();
}

/// How many rows the planner takes the table for.
async fn known(db: &Database) -> i64 {
    let known = sql("SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE relname = 'label'");
    known.fetch_one(db).await.unwrap().get(0).unwrap()
}

#[tokio::test]
async fn a_table_that_has_grown_is_known() {
    let database = testing::postgres(&MIGRATIONS).await;
    let db = database.database();
    for (from, to) in [(0, 2_000), (2_000, 10_000)] {
        fill(db, from..to).await;
        eventually(Duration::from_secs(60), async || known(db).await == i64::from(to)).await;
    }
}
