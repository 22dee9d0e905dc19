//! SQLite files that are read, and copied while others write to them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_sql::testing;
use holdall_sql::{Database, Error, Migration, MigrationError, Migrations, sql};

const TABLE: Migration = Migration {
    version: 1,
    name: "t",
    sql: "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT NOT NULL); CREATE INDEX by_text ON t (text)",
};
const MIGRATIONS: Migrations = Migrations { sqlite: &[TABLE], postgres: &[] };

async fn add(db: &Database, id: i64) {
    let text = format!("{id:0>200}");
    sql("INSERT INTO t (id, text) VALUES ($1, $2)").bind(id).bind(text).execute(db).await.unwrap();
}

async fn count(db: &Database) -> i64 {
    sql("SELECT COUNT(*) FROM t").fetch_one(db).await.unwrap().get(0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_what_was_committed_before_and_whole_transactions_only() {
    let database = testing::sqlite(&MIGRATIONS).await;
    let db = database.database().clone();
    let path = database.settings().sqlite_path().unwrap();
    for id in 0..1_000 {
        add(&db, id).await;
    }
    let reader = Database::open_read_only(path, &MIGRATIONS).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let is_over = AtomicBool::new(false);
    // Two rows in each transaction: a copy never has one of them alone.
    let write = async {
        let mut id = 1_000;
        while !is_over.load(Ordering::Relaxed) {
            let mut tx = db.begin().await.unwrap();
            for id in [id, id + 1] {
                sql("INSERT INTO t (id, text) VALUES ($1, '')").bind(id).execute(&mut tx).await.unwrap();
            }
            tx.commit().await.unwrap();
            id += 2;
        }
    };
    let copying = async {
        reader.copy_to(&copy).await.unwrap();
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(write, copying);
    assert!(matches!(reader.copy_to(&copy).await, Err(Error::File(_))), "nothing is written over");

    let copied = Database::open_read_only(&copy, &MIGRATIONS).await.unwrap();
    let found = count(&copied).await;
    assert!(found >= 1_000 && found % 2 == 0 && found <= count(&db).await, "{found}");
    assert_eq!(copied.damage().await.unwrap(), Vec::<String>::new());
    copied.close().await;
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1, "reading it left nothing beside it");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_is_opened_for_reading_cannot_be_written_and_has_to_be_there() {
    let database = testing::sqlite(&MIGRATIONS).await;
    let path = database.settings().sqlite_path().unwrap();
    let db = Database::open_read_only(path, &MIGRATIONS).await.unwrap();
    sql("INSERT INTO t (id, text) VALUES (1, '')").execute(&db).await.unwrap_err();
    assert_eq!(count(database.database()).await, 0);
    let nowhere = path.with_extension("nowhere");
    assert!(Database::open_read_only(&nowhere, &MIGRATIONS).await.is_err() && !nowhere.exists());

    let second = Migration { version: 2, name: "u", sql: "CREATE TABLE u (id INTEGER)" };
    let steps = [TABLE, second];
    for (steps, expected) in [(&steps[..], "older"), (&[], "newer")] {
        let migrations = Migrations { sqlite: Box::leak(Box::from(steps)), postgres: &[] };
        let error = Database::open_read_only(path, &migrations).await.unwrap_err();
        let found = match error {
            Error::Migration(MigrationError::Older { .. }) => "older",
            Error::Migration(MigrationError::Newer { .. }) => "newer",
            error => panic!("{error}"),
        };
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn damage_is_found() {
    let database = testing::sqlite(&MIGRATIONS).await;
    for id in 0..1_000 {
        add(database.database(), id).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let path = database.settings().sqlite_path().unwrap();
    Database::open_read_only(path, &MIGRATIONS).await.unwrap().copy_to(&copy).await.unwrap();
    let mut bytes = std::fs::read(&copy).unwrap();
    let at = bytes.windows(8).position(|window| window == b"00000500").unwrap() + 7;
    bytes[at] = b'1';
    std::fs::write(&copy, &bytes).unwrap();
    let db = Database::open_read_only(&copy, &MIGRATIONS).await.unwrap();
    let found = db.damage().await.unwrap();
    assert!(!found.is_empty() && found.len() <= 100, "{found:?}");
}
