//! What goes wrong in a database, and whether it happened.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use holdall_sql::testing::{self, PostgresCluster, TestDatabase};
use holdall_sql::{Database, Durability, Error, Migration, Migrations, Settings, dynamic, sql};

const MIGRATIONS: Migrations = Migrations {
    sqlite: &[Migration {
        version: 1,
        name: "parent and child",
        sql: "CREATE TABLE parent (id INTEGER PRIMARY KEY, content BLOB) STRICT;
              CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT;",
    }],
    postgres: &[Migration {
        version: 1,
        name: "parent, child and a bomb",
        sql: "CREATE TABLE parent (id BIGINT PRIMARY KEY, content BYTEA);
              CREATE TABLE child (parent BIGINT REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
              CREATE TABLE bomb (code TEXT);
              CREATE FUNCTION explode() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN RAISE EXCEPTION 'bang' USING ERRCODE = NEW.code; END $$;
              CREATE CONSTRAINT TRIGGER explode AFTER INSERT ON bomb DEFERRABLE INITIALLY DEFERRED
                  FOR EACH ROW EXECUTE FUNCTION explode();",
    }],
};

async fn parents(db: &Database) -> i64 {
    sql("SELECT COUNT(*) FROM parent").fetch_one(db).await.unwrap().get(0).unwrap()
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::UniqueViolation { .. } => "unique",
        Error::ForeignKey => "foreign key",
        Error::Busy(_) => "busy",
        Error::Full(_) => "full",
        Error::Unknown(_) => "unknown",
        Error::Corrupt(_) => "corrupt",
        Error::Other(_) => "other",
        _ => "unexpected",
    }
}

/// Each code is raised by a statement, by a commit, and by a statement that commits by itself.
#[tokio::test]
async fn postgres_codes_are_sorted_by_what_to_do() {
    let database = testing::postgres(&MIGRATIONS).await;
    let db = database.database();
    for (code, in_statement, in_commit) in [
        ("23505", "unique", "unique"),
        ("23503", "foreign key", "foreign key"),
        ("40001", "busy", "busy"),
        ("40P01", "busy", "busy"),
        ("55P03", "busy", "busy"),
        ("57014", "busy", "busy"),
        ("53300", "busy", "busy"),
        ("57P03", "busy", "busy"),
        ("08006", "busy", "unknown"),
        ("57P01", "busy", "unknown"),
        ("57P02", "busy", "unknown"),
        ("53100", "full", "full"),
        ("XX001", "corrupt", "corrupt"),
        ("XX002", "corrupt", "corrupt"),
        ("23514", "other", "other"),
        ("42601", "other", "other"),
    ] {
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION 'bang' USING ERRCODE = '{code}'; END $$");
        let mut tx = db.begin().await.unwrap();
        assert_eq!(kind(&dynamic(raise).execute(&mut tx).await.unwrap_err()), in_statement, "{code}");

        let bomb = || sql("INSERT INTO bomb (code) VALUES ($1)").bind(code);
        let mut tx = db.begin().await.unwrap();
        bomb().execute(&mut tx).await.unwrap();
        assert_eq!(kind(&tx.commit().await.unwrap_err()), in_commit, "{code}");
        assert_eq!(kind(&bomb().execute(db).await.unwrap_err()), in_commit, "{code}");
    }
    let left: i64 = sql("SELECT COUNT(*) FROM bomb").fetch_one(db).await.unwrap().get(0).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_fails_at_the_commit_has_not_happened() {
    for database in testing::databases(&MIGRATIONS).await {
        let db = database.database();
        let mut tx = db.begin().await.unwrap();
        sql("INSERT INTO parent (id) VALUES (1)").execute(&mut tx).await.unwrap();
        sql("INSERT INTO child (parent) VALUES (2)").execute(&mut tx).await.unwrap();
        assert!(matches!(tx.commit().await, Err(Error::ForeignKey)));
        assert_eq!(parents(db).await, 0);
        let orphan = sql("INSERT INTO child (parent) VALUES (2)").execute(db).await;
        assert!(matches!(orphan, Err(Error::ForeignKey)));
    }
}

#[tokio::test]
async fn a_full_disk_is_told_apart_and_passes() {
    let database = testing::sqlite(&MIGRATIONS).await;
    let db = database.database();
    let insert = || sql("INSERT INTO parent (content) VALUES ($1)").bind(vec![0; 1 << 20]);
    let limit = async |pages: &'static str| {
        let mut tx = db.begin().await.unwrap();
        sql(pages).fetch_all(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    limit("PRAGMA max_page_count = 100").await;
    assert!(matches!(insert().execute(db).await, Err(Error::Full(_))));
    let mut tx = db.begin().await.unwrap();
    assert!(matches!(insert().execute(&mut tx).await, Err(Error::Full(_))));
    drop(tx);
    assert_eq!(parents(db).await, 0);
    limit("PRAGMA max_page_count = 100000").await;
    insert().execute(db).await.unwrap();
    assert_eq!(parents(db).await, 1);
}

#[tokio::test]
async fn a_statement_given_up_halfway_fails_its_transaction() {
    for database in testing::databases(&MIGRATIONS).await {
        let db = database.database();
        let mut tx = db.begin().await.unwrap();
        sql("INSERT INTO parent (id) VALUES (1)").execute(&mut tx).await.unwrap();
        let long = "INSERT INTO parent (id) WITH RECURSIVE n (i) AS \
                    (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT i FROM n";
        let mut statement = Box::pin(sql(long).execute(&mut tx));
        // Polled once: sent, but not answered.
        assert!(statement.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(statement);
        assert!(matches!(tx.commit().await, Err(Error::Aborted)));
        assert_eq!(parents(db).await, 0);
        sql("INSERT INTO parent (id) VALUES (2)").execute(db).await.unwrap();
    }
}

const BACKEND: &str = "SELECT CAST(pg_backend_pid() AS BIGINT)";

async fn with_one_connection(database: &TestDatabase) -> Database {
    let settings = Settings { max_connections: 1, ..database.settings().clone() };
    Database::open(&settings, &MIGRATIONS, Durability::Full).await.unwrap()
}

#[tokio::test]
async fn a_connection_is_kept_through_failures_and_replaced_when_it_is_lost() {
    let database = testing::postgres(&MIGRATIONS).await;
    let db = with_one_connection(&database).await;
    let backend = async || sql(BACKEND).fetch_one(&db).await.unwrap().get::<i64>(0).unwrap();
    let first = backend().await;

    let mut tx = db.begin().await.unwrap();
    sql("INSERT INTO parent (id) VALUES (1)").execute(&mut tx).await.unwrap();
    drop(tx);
    assert_eq!(backend().await, first, "after a rollback");
    sql("INSERT INTO child (parent) VALUES (7)").execute(&db).await.unwrap_err();
    assert_eq!(backend().await, first, "after a failed statement");
    let slow = sql("SELECT CAST(COUNT(pg_sleep(0.2)) AS BIGINT)").fetch_one(&db);
    assert!(tokio::time::timeout(Duration::from_millis(20), slow).await.is_err());
    assert_eq!(backend().await, first, "after a statement was given up");

    let kill = sql("SELECT CAST(pg_terminate_backend(CAST($1 AS INTEGER), 5000) AS TEXT)").bind(first);
    kill.fetch_one(database.database()).await.unwrap();
    assert!(sql(BACKEND).fetch_one(&db).await.err().unwrap().is_busy());
    assert_ne!(backend().await, first);
}

#[tokio::test]
async fn a_stale_connection_is_found_out_before_it_is_used() {
    let database = testing::postgres(&MIGRATIONS).await;
    let db = with_one_connection(&database).await;
    let first: i64 = sql(BACKEND).fetch_one(&db).await.unwrap().get(0).unwrap();
    let kill = sql("SELECT CAST(pg_terminate_backend(CAST($1 AS INTEGER), 5000) AS TEXT)").bind(first);
    kill.fetch_one(database.database()).await.unwrap();
    // Longer than a connection is trusted: this is about the passage of time, so time has to pass.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    sql("INSERT INTO parent (id) VALUES (1)").execute(&db).await.unwrap();
}

#[tokio::test]
async fn callers_wait_for_a_connection() {
    for database in testing::databases(&MIGRATIONS).await {
        let db = with_one_connection(&database).await;
        let mut snapshot = db.snapshot().await.unwrap();
        sql("SELECT id FROM parent").fetch_all(&mut snapshot).await.unwrap();
        let mut waiting = Box::pin(parents(&db));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        drop(snapshot);
        assert_eq!(waiting.await, 0);
    }
}

#[tokio::test]
async fn closing_waits_for_transactions() {
    for database in testing::databases(&MIGRATIONS).await {
        let db = with_one_connection(&database).await;
        let mut tx = db.begin().await.unwrap();
        sql("INSERT INTO parent (id) VALUES (1)").execute(&mut tx).await.unwrap();
        let mut closing = Box::pin(db.close());
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut closing).await.is_err());
        assert!(db.begin().await.err().unwrap().is_busy());
        tx.commit().await.unwrap();
        closing.await;
        assert_eq!(parents(database.database()).await, 1);
    }
}

#[tokio::test]
async fn what_a_frozen_postgres_does_not_answer_is_given_up_and_all_goes_on_when_it_does() {
    let cluster = PostgresCluster::private();
    let settings = Settings { url: cluster.create_database().await, ..Settings::default() };
    let db = Database::open(&settings, &MIGRATIONS, Durability::Full).await.unwrap();
    let mut begun = db.begin().await.unwrap();
    assert_eq!(parents(&db).await, 0);

    let frozen = cluster.freeze();
    let asked = Instant::now();
    let (by_itself, within, without_connection) = tokio::join!(
        sql("INSERT INTO parent (id) VALUES (1)").execute(&db),
        sql("SELECT id FROM parent").fetch_all(&mut begun),
        sql("SELECT id FROM parent").fetch_all(&db),
    );
    // It may have happened.
    assert!(matches!(by_itself, Err(Error::Unknown(_))), "{by_itself:?}");
    assert!(within.err().unwrap().is_busy());
    assert!(without_connection.err().unwrap().is_busy());
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    let asked = Instant::now();
    assert!(db.begin().await.unwrap_err().is_busy());
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    drop((frozen, begun));
    let answers = async { while db.ping().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), answers).await.unwrap();
}

#[tokio::test]
async fn what_is_slow_may_be_slow() {
    let cluster = PostgresCluster::shared();
    let settings = Settings { url: cluster.create_database().await, ..Settings::default() };
    let db = Database::open(&settings, &MIGRATIONS, Durability::Full).await.unwrap();
    sql("SELECT CAST(COUNT(pg_sleep(2.5)) AS BIGINT)").fetch_one(&db).await.unwrap();
}
