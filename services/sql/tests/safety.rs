//! That what was acknowledged is kept, and that what could lose it is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use holdall_sql::testing::{self, PostgresCluster};
use holdall_sql::{
    Database, Durability, Error, Migration, MigrationError, Migrations, Settings, Transaction, sql,
};

const TABLE: Migration = Migration { version: 1, name: "t", sql: "CREATE TABLE t (id BIGINT PRIMARY KEY)" };
const MIGRATIONS: Migrations = Migrations { sqlite: &[TABLE], postgres: &[TABLE] };

async fn text(tx: &mut Transaction, statement: &'static str) -> String {
    sql(statement).fetch_one(tx).await.unwrap().get(0).unwrap()
}

async fn pragma(tx: &mut Transaction, statement: &'static str) -> i64 {
    sql(statement).fetch_one(tx).await.unwrap().get(0).unwrap()
}

#[tokio::test]
async fn sqlite_flushes_at_every_commit_but_the_relaxed_ones() {
    let database = testing::sqlite(&MIGRATIONS).await;
    let db = database.database().clone();
    for (mut tx, synchronous) in [(db.begin().await.unwrap(), 2)] {
        assert_eq!(pragma(&mut tx, "PRAGMA synchronous").await, synchronous);
        assert_eq!(text(&mut tx, "PRAGMA journal_mode").await, "wal");
        assert_eq!(pragma(&mut tx, "PRAGMA foreign_keys").await, 1);
        assert_eq!(pragma(&mut tx, "PRAGMA busy_timeout").await, 5000);
    }
    let mut tx = db.begin_relaxed().await.unwrap();
    assert_eq!(pragma(&mut tx, "PRAGMA synchronous").await, 1);
    assert_eq!(text(&mut tx, "PRAGMA journal_mode").await, "wal");
    assert_eq!(pragma(&mut tx, "PRAGMA foreign_keys").await, 1);
}

#[tokio::test]
async fn sqlite_that_can_be_rebuilt_does_not_flush() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::file(&folder.path().join("index.db"));
    let db = Database::open(&settings, &MIGRATIONS, Durability::Rebuildable).await.unwrap();
    for mut tx in [db.begin().await.unwrap()] {
        assert_eq!(pragma(&mut tx, "PRAGMA synchronous").await, 1);
    }
    let mut tx = db.begin_relaxed().await.unwrap();
    assert_eq!(pragma(&mut tx, "PRAGMA synchronous").await, 1);
}

#[tokio::test]
async fn postgres_flushes_at_every_commit_but_the_relaxed_ones() {
    const SHOW: &str = "SELECT current_setting('synchronous_commit')";
    let database = testing::postgres(&MIGRATIONS).await;
    let db = database.database().clone();
    assert_eq!(text(&mut db.begin().await.unwrap(), SHOW).await, "on");
    let mut relaxed = db.begin_relaxed().await.unwrap();
    assert_eq!(text(&mut relaxed, SHOW).await, "off");
    relaxed.commit().await.unwrap();
    assert_eq!(text(&mut db.begin().await.unwrap(), SHOW).await, "on");

    let index = Database::open(database.settings(), &MIGRATIONS, Durability::Rebuildable).await.unwrap();
    assert_eq!(text(&mut index.begin().await.unwrap(), SHOW).await, "off");
}

#[tokio::test]
async fn postgres_gives_up_in_time() {
    let database = testing::postgres(&MIGRATIONS).await;
    let db = database.database().clone();
    let mut tx = db.begin().await.unwrap();
    assert_eq!(text(&mut tx, "SELECT current_setting('statement_timeout')").await, "5s");
    assert_eq!(text(&mut tx, "SELECT current_setting('lock_timeout')").await, "4s");
    sql("SET LOCAL statement_timeout = '20ms'").execute(&mut tx).await.unwrap();
    let slow = sql("SELECT CAST(COUNT(pg_sleep(10)) AS BIGINT)").fetch_one(&mut tx).await;
    assert!(slow.err().unwrap().is_busy());
}

#[tokio::test]
async fn a_postgres_that_may_lose_commits_is_refused() {
    let database = testing::postgres(&MIGRATIONS).await;
    let url = &database.settings().url;
    let unsafe_url = format!("{url}&options=-c%20synchronous_commit%3Doff");
    let settings = Settings { url: unsafe_url, ..Settings::default() };
    match Database::open(&settings, &MIGRATIONS, Durability::Full).await {
        Err(Error::Unsafe { name: "synchronous_commit", found, required: "on" }) => assert_eq!(found, "off"),
        other => panic!("{:?}", other.err()),
    }
    Database::open(&settings, &MIGRATIONS, Durability::Rebuildable).await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_unknown_at_the_commit_and_busy_before() {
    const PID: &str = "SELECT CAST(pg_backend_pid() AS BIGINT)";
    let database = testing::postgres(&MIGRATIONS).await;
    let db = database.database().clone();
    let kill = async |tx: &mut Transaction| {
        let pid: i64 = sql(PID).fetch_one(tx).await.unwrap().get(0).unwrap();
        let text = "SELECT CAST(pg_terminate_backend(CAST($1 AS INTEGER), 5000) AS TEXT)";
        sql(text).bind(pid).fetch_one(&db).await.unwrap();
    };
    let mut tx = db.begin().await.unwrap();
    kill(&mut tx).await;
    let statement = sql("INSERT INTO t (id) VALUES (1)").execute(&mut tx).await;
    assert!(statement.unwrap_err().is_busy());

    let mut tx = db.begin().await.unwrap();
    sql("INSERT INTO t (id) VALUES (1)").execute(&mut tx).await.unwrap();
    kill(&mut tx).await;
    assert!(matches!(tx.commit().await, Err(Error::Unknown(_))));

    // The pool is none the worse for it.
    let left = sql("SELECT id FROM t").fetch_all(&db).await.unwrap();
    assert!(left.is_empty());
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b?#%20.db");
    let settings = Settings::file(&path);
    let open = || Database::open(&settings, &MIGRATIONS, Durability::Full);
    let db = open().await.unwrap();
    sql("INSERT INTO t (id) VALUES (1)").execute(&db).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        3,
        "the file, its log, and the log's index"
    );
    db.close().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the log is gone");

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let db = open().await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(sql("SELECT id FROM t").fetch_all(&db).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lone_statement_that_reads_cannot_write() {
    let database = testing::sqlite(&MIGRATIONS).await;
    let db = database.database().clone();
    assert!(sql("INSERT INTO t (id) VALUES (1) RETURNING id").fetch_one(&db).await.is_err());
    assert!(sql("SELECT id FROM t").fetch_all(&db).await.unwrap().is_empty());
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    for url in
        ["", "mysql://x", "sqlite:x.db", "sqlite://", "sqlite://:memory:", "/x.db", "postgres://[/hunter2"]
    {
        let settings = Settings { url: url.into(), ..Settings::default() };
        match Database::open(&settings, &MIGRATIONS, Durability::Full).await {
            Err(error @ Error::Settings(_)) => assert!(!format!("{error:?}").contains("hunter2")),
            other => panic!("{url}: {:?}", other.err()),
        }
    }
    let settings = Settings { max_connections: 0, ..Settings::file(Path::new("/nowhere/x.db")) };
    assert!(matches!(
        Database::open(&settings, &MIGRATIONS, Durability::Full).await,
        Err(Error::Settings(_))
    ));
    let settings = Settings::file(Path::new("/nowhere/x.db"));
    assert!(matches!(Database::open(&settings, &MIGRATIONS, Durability::Full).await, Err(Error::File(_))));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let notes = "these are notes, and not a database\n".repeat(200);
    std::fs::write(&path, &notes).unwrap();
    let opened = Database::open(&Settings::file(&path), &MIGRATIONS, Durability::Full).await;
    assert!(matches!(opened, Err(Error::Corrupt(_))), "{:?}", opened.err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://postgres@localhost/x?host={}", folder.path().display());
    let settings = Settings { url, wait_seconds: 0, ..Settings::default() };
    let opened = Database::open(&settings, &MIGRATIONS, Durability::Full).await;
    assert!(opened.err().unwrap().is_busy());
    assert!(PostgresCluster::shared().create_database().await.starts_with("postgres://"));
}

/// What a service needs is rows; making and changing tables can be left to another role.
#[tokio::test]
async fn a_role_that_cannot_change_the_schema_is_enough_to_run() {
    let owner = Settings { url: PostgresCluster::shared().create_database().await, ..Settings::default() };
    // Roles belong to the whole server. The name has to be quoted.
    let elsewhere = testing::postgres(&MIGRATIONS).await;
    sql("CREATE ROLE \"run %I\" LOGIN").execute(elsewhere.database()).await.unwrap();
    let apart = Settings {
        url: owner.url.replace("postgres@", "run%20%25I@"),
        migrate: false,
        ..Settings::default()
    };
    let open = async || Database::open(&apart, &MIGRATIONS, Durability::Full).await;
    match open().await {
        Err(Error::Migration(MigrationError::Older { found: 0, known: 1 })) => {}
        other => panic!("nothing is there, and nothing is made: {:?}", other.err()),
    }

    let migration = Settings { runtime_role: "run %I".to_owned(), ..owner };
    Database::migrate(&migration, &MIGRATIONS, Durability::Full).await.unwrap();
    let run = open().await.unwrap();
    sql("INSERT INTO t (id) VALUES (1)").execute(&run).await.unwrap();
    assert_eq!(sql("SELECT id FROM t").fetch_all(&run).await.unwrap().len(), 1);
    assert!(sql("CREATE TABLE u (id BIGINT)").execute(&run).await.is_err());
    assert!(sql("DROP TABLE t").execute(&run).await.is_err());
    run.close().await;
}

#[tokio::test]
async fn a_file_is_left_at_its_schema_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = Settings::file(&folder.path().join("x.db"));
    let apart = Settings { migrate: false, ..file.clone() };
    let opened = Database::open(&apart, &MIGRATIONS, Durability::Full).await;
    assert!(matches!(opened, Err(Error::Migration(MigrationError::Older { found: 0, known: 1 }))));
    Database::migrate(&apart, &MIGRATIONS, Durability::Full).await.unwrap();
    Database::open(&apart, &MIGRATIONS, Durability::Full).await.unwrap().close().await;
}

#[tokio::test]
async fn a_server_that_is_starting_is_waited_for() {
    let url = PostgresCluster::shared().create_database().await;
    // The server seems to be away until its socket can be reached through this link.
    let (before, folder) = url.split_once("host=").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("sockets");
    let settings = Settings { url: format!("{before}host={}", link.display()), ..Settings::default() };
    let opening = tokio::spawn(async move { Database::open(&settings, &MIGRATIONS, Durability::Full).await });
    std::os::unix::fs::symlink(folder, &link).unwrap();
    opening.await.unwrap().unwrap().close().await;
}

#[tokio::test]
async fn what_is_written_leaves_the_log_without_another_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.db");
    let db = Database::open(&Settings::file(&path), &MIGRATIONS, Durability::Full).await.unwrap();
    let rows = "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 20000) \
                INSERT INTO t (id) SELECT id FROM n";
    sql(rows).execute(&db).await.unwrap();
    let moved = async || std::fs::metadata(&path).unwrap().len() >= 200_000;
    holdall_runtime::testing::eventually(Duration::from_secs(30), moved).await;
    db.close().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the log is gone");
}
