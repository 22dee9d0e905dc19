//! What every store may rely on, on both engines.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use holdall_sql::testing::{self, TestDatabase};
use holdall_sql::{
    Database, Dialect, Durability, Error, Migration, MigrationError, Migrations, Value, dynamic, insert,
    retry, sql, values,
};
use tokio::sync::{Barrier, oneshot};

const SQLITE: &str =
    "CREATE TABLE account (id TEXT PRIMARY KEY, name TEXT UNIQUE, counter INTEGER NOT NULL DEFAULT 0, \
     secret BLOB) STRICT;
     CREATE TABLE token (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account (id)) STRICT;";
const POSTGRES: &str = "CREATE TABLE account (id TEXT PRIMARY KEY, name TEXT COLLATE \"C\" UNIQUE, \
     counter BIGINT NOT NULL DEFAULT 0, secret BYTEA);
     CREATE TABLE token (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account (id));";

const MIGRATIONS: Migrations = Migrations {
    sqlite: &[Migration { version: 1, name: "account", sql: SQLITE }],
    postgres: &[Migration { version: 1, name: "account", sql: POSTGRES }],
};

async fn add(db: &Database, id: &str) {
    sql("INSERT INTO account (id) VALUES ($1)").bind(id).execute(db).await.unwrap();
}

async fn counter(db: &Database, id: &str) -> i64 {
    let row = sql("SELECT counter FROM account WHERE id = $1").bind(id).fetch_one(db).await.unwrap();
    row.get(0).unwrap()
}

async fn count(db: &Database) -> i64 {
    sql("SELECT COUNT(*) FROM account").fetch_one(db).await.unwrap().get(0).unwrap()
}

async fn each<F: Future<Output = ()>>(mut test: impl FnMut(Database) -> F) {
    for database in testing::databases(&MIGRATIONS).await {
        test(database.database().clone()).await;
    }
}

#[tokio::test]
async fn values_come_back_as_they_went() {
    each(|db| async move {
        let name = "Grüße 🎒 \"'%_\\";
        let secret: Vec<u8> = (0..=255).collect();
        let done = sql("INSERT INTO account (id, name, counter, secret) VALUES ($1, $2, $3, $4)")
            .bind("a")
            .bind(name)
            .bind(i64::MIN)
            .bind(&secret)
            .execute(&db)
            .await
            .unwrap();
        assert_eq!(done, 1);
        let row = sql("SELECT id, name, counter, secret FROM account").fetch_one(&db).await.unwrap();
        assert_eq!(row.get::<String>(1).unwrap(), name);
        assert_eq!(row.get::<Option<String>>(1).unwrap().as_deref(), Some(name));
        assert_eq!(row.get::<i64>(2).unwrap(), i64::MIN);
        assert_eq!(row.get::<Option<i64>>(2).unwrap(), Some(i64::MIN));
        assert_eq!(row.get::<Vec<u8>>(3).unwrap(), secret);
        assert_eq!(row.get::<Option<Vec<u8>>>(3).unwrap(), Some(secret));

        sql("UPDATE account SET name = $1, counter = $2, secret = $3")
            .bind(None::<&str>)
            .bind(true)
            .bind(None::<&[u8]>)
            .execute(&db)
            .await
            .unwrap();
        let row = sql("SELECT id, name, counter, secret FROM account").fetch_one(&db).await.unwrap();
        assert_eq!(row.get::<Option<String>>(1).unwrap(), None);
        assert!(row.get::<bool>(2).unwrap());
        assert_eq!(row.get::<Option<bool>>(2).unwrap(), Some(true));
        assert_eq!(row.get::<Option<Vec<u8>>>(3).unwrap(), None);
        assert_eq!(row.get::<Option<i64>>(1).map_err(|e| e.to_string()).ok(), Some(None));
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_an_error_and_not_a_guess() {
    each(|db| async move {
        sql("INSERT INTO account (id, counter) VALUES ($1, $2)")
            .bind("a")
            .bind(2)
            .execute(&db)
            .await
            .unwrap();
        let row = sql("SELECT id, name, counter FROM account").fetch_one(&db).await.unwrap();
        assert!(matches!(row.get::<i64>(0), Err(Error::Corrupt(_))), "text as a number");
        assert!(matches!(row.get::<String>(1), Err(Error::Corrupt(_))), "NULL as text");
        assert!(matches!(row.get::<bool>(2), Err(Error::Corrupt(_))), "2 as a truth value");
        assert!(matches!(row.get::<String>(3), Err(Error::Other(_))), "no such column");
    })
    .await;
}

#[tokio::test]
async fn one_parameter_can_stand_in_several_places() {
    each(|db| async move {
        let text = "INSERT INTO account (id, name) VALUES ($1, $1) ON CONFLICT (id) DO UPDATE SET name = $2";
        sql(text).bind("a").bind("b").execute(&db).await.unwrap();
        sql(text).bind("a").bind("b").execute(&db).await.unwrap();
        let found =
            sql("SELECT id FROM account WHERE name = $1 AND $1 <> id AND counter < $2").bind("b").bind(1);
        assert_eq!(found.fetch_one(&db).await.unwrap().get::<String>(0).unwrap(), "a");
    })
    .await;
}

#[tokio::test]
async fn rows_are_none_one_or_many() {
    each(|db| async move {
        let text = "SELECT id FROM account ORDER BY id";
        assert!(sql(text).fetch_optional(&db).await.unwrap().is_none());
        assert!(matches!(sql(text).fetch_one(&db).await, Err(Error::NoRow)));
        for id in ["b", "a", "c"] {
            add(&db, id).await;
        }
        assert_eq!(sql(text).fetch_one(&db).await.unwrap().get::<String>(0).unwrap(), "a");
        let mut tx = db.begin().await.unwrap();
        let all = sql(text).fetch_all(&mut tx).await.unwrap();
        let all: Vec<String> = all.iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(all, ["a", "b", "c"]);
        assert_eq!(sql("DELETE FROM account WHERE id > $1").bind("a").execute(&mut tx).await.unwrap(), 2);
        let text = "UPDATE account SET counter = counter + $1 RETURNING counter";
        let row = sql(text).bind(5).fetch_one(&mut tx).await.unwrap();
        assert_eq!(row.get::<i64>(0).unwrap(), 5);
        tx.commit().await.unwrap();
        assert_eq!(counter(&db, "a").await, 5);
    })
    .await;
}

#[tokio::test]
async fn names_sort_by_their_bytes() {
    each(|db| async move {
        for name in ["ä", "b", "B", "a", "_", "Z"] {
            let add = sql("INSERT INTO account (id, name) VALUES ($1, $1)").bind(name);
            add.execute(&db).await.unwrap();
        }
        let rows = sql("SELECT name FROM account ORDER BY name").fetch_all(&db).await.unwrap();
        let names: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(names, ["B", "Z", "_", "a", "b", "ä"]);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back() {
    each(|db| async move {
        let mut tx = db.begin().await.unwrap();
        sql("INSERT INTO account (id) VALUES ($1)").bind("a").execute(&mut tx).await.unwrap();
        drop(tx);
        let mut tx = db.begin_relaxed().await.unwrap();
        sql("INSERT INTO account (id) VALUES ($1)").bind("b").execute(&mut tx).await.unwrap();
        drop(tx);
        assert_eq!(count(&db).await, 0);
        let mut tx = db.begin().await.unwrap();
        sql("INSERT INTO account (id) VALUES ($1)").bind("c").execute(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(count(&db).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_transaction_leaves_nothing_and_blocks_nobody() {
    each(|db| async move {
        for delay in 0..40 {
            let work = async {
                let mut tx = db.begin().await.unwrap();
                sql("INSERT INTO account (id) VALUES ($1)").bind("a").execute(&mut tx).await.unwrap();
                sql("UPDATE account SET counter = 1").execute(&mut tx).await.unwrap();
                std::future::pending::<()>().await;
            };
            let cut = std::time::Duration::from_micros(delay * 50);
            tokio::time::timeout(cut, work).await.unwrap_err();
        }
        assert_eq!(count(&db).await, 0);
        add(&db, "b").await;
        assert_eq!(count(&db).await, 1);
    })
    .await;
}

/// Both transactions read before either writes: with a plain `BEGIN` SQLite refuses the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_then_write_transactions_do_not_lose_updates() {
    each(|db| async move {
        add(&db, "a").await;
        let mut tasks = Vec::new();
        for task in 0..8 {
            let db = db.clone();
            tasks.push(tokio::spawn(async move {
                let lock = match db.dialect() {
                    Dialect::Sqlite => "SELECT counter FROM account WHERE id = $1",
                    Dialect::Postgres => "SELECT counter FROM account WHERE id = $1 FOR UPDATE",
                };
                for _ in 0..25 {
                    let begun = if task % 2 == 0 { db.begin().await } else { db.begin_relaxed().await };
                    let mut tx = begun.unwrap();
                    let seen: i64 = sql(lock).bind("a").fetch_one(&mut tx).await.unwrap().get(0).unwrap();
                    tokio::task::yield_now().await;
                    let update =
                        sql("UPDATE account SET counter = $2 WHERE id = $1").bind("a").bind(seen + 1);
                    assert_eq!(update.execute(&mut tx).await.unwrap(), 1);
                    tx.commit().await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(counter(&db, "a").await, 200);
    })
    .await;
}

#[tokio::test]
async fn sqlite_writers_take_turns_from_the_start() {
    let database = testing::sqlite(&MIGRATIONS).await;
    let db = database.database().clone();
    for relaxed in [false, true] {
        let first = db.begin().await.unwrap();
        let (began, mut has_begun) = oneshot::channel();
        let other = db.clone();
        let second = tokio::spawn(async move {
            let tx = if relaxed { other.begin_relaxed().await } else { other.begin().await };
            began.send(()).unwrap();
            tx.unwrap().commit().await.unwrap();
        });
        // Reads go on meanwhile.
        assert_eq!(count(&db).await, 0);
        assert!(has_begun.try_recv().is_err(), "the second began while the first was open");
        first.commit().await.unwrap();
        has_begun.await.unwrap();
        second.await.unwrap();
    }
}

/// Two processes on one file, as with the `sqlite3` shell: the lock is taken at the start, not at the first
/// write.
#[tokio::test]
async fn sqlite_takes_the_write_lock_at_begin() {
    let database = testing::sqlite(&MIGRATIONS).await;
    let other = Database::open(database.settings(), &MIGRATIONS, Durability::Full).await.unwrap();
    let db = database.database().clone();
    add(&db, "a").await;
    let bump = async |db: &Database| {
        for _ in 0..10 {
            let mut tx = db.begin().await.unwrap();
            let seen: i64 =
                sql("SELECT counter FROM account").fetch_one(&mut tx).await.unwrap().get(0).unwrap();
            tokio::task::yield_now().await;
            sql("UPDATE account SET counter = $1").bind(seen + 1).execute(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    tokio::join!(bump(&db), bump(&other));
    assert_eq!(counter(&db, "a").await, 20);
}

#[tokio::test]
async fn a_snapshot_sees_one_moment() {
    each(|db| async move {
        let mut snapshot = db.snapshot().await.unwrap();
        let text = "SELECT COUNT(*) FROM account";
        assert_eq!(sql(text).fetch_one(&mut snapshot).await.unwrap().get::<i64>(0).unwrap(), 0);
        add(&db, "a").await;
        assert_eq!(count(&db).await, 1);
        assert_eq!(sql(text).fetch_one(&mut snapshot).await.unwrap().get::<i64>(0).unwrap(), 0);
        snapshot.commit().await.unwrap();
        assert_eq!(count(&db).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_cannot_write() {
    each(|db| async move {
        let mut snapshot = db.snapshot().await.unwrap();
        let written = sql("INSERT INTO account (id) VALUES ($1)").bind("a").execute(&mut snapshot).await;
        assert!(matches!(written, Err(Error::Other(_))), "{written:?}");
        drop(snapshot);
        assert_eq!(count(&db).await, 0);
    })
    .await;
}

#[tokio::test]
async fn violations_say_what_they_are() {
    each(|db| async move {
        let add = |id, name| sql("INSERT INTO account (id, name) VALUES ($1, $2)").bind(id).bind(name);
        add("a", "x").execute(&db).await.unwrap();
        for (id, name, on) in
            [("a", "y", ["account.id", "account_pkey"]), ("b", "x", ["account.name", "account_name_key"])]
        {
            match add(id, name).execute(&db).await {
                Err(Error::UniqueViolation { on: found }) => assert!(on.contains(&found.as_str()), "{found}"),
                other => panic!("{other:?}"),
            }
            let mut tx = db.begin().await.unwrap();
            let refused = add(id, name).execute(&mut tx).await;
            assert!(matches!(refused, Err(Error::UniqueViolation { .. })), "{refused:?}");
        }
        let orphan = sql("INSERT INTO token (id, account) VALUES ($1, $2)").bind("t").bind("nobody");
        assert!(matches!(orphan.execute(&db).await, Err(Error::ForeignKey)));
        let text = sql("SELEKT").fetch_all(&db).await.err().unwrap().to_string();
        assert!(!text.contains("SELEKT"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn errors_never_quote_a_row() {
    each(|db| async move {
        let add = || sql("INSERT INTO account (id, name) VALUES ($1, $2)").bind("hunter2").bind("x");
        add().execute(&db).await.unwrap();
        let error = add().execute(&db).await.unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", std::error::Error::source(&error)).contains("hunter2"));
        let broken = "INSERT INTO account (id, name, counter) VALUES ($1, $2, $3)";
        let error = sql(broken).bind("hunter2").bind("y").bind(None::<i64>).execute(&db).await.unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", std::error::Error::source(&error)).contains("hunter2"));
    })
    .await;
}

#[tokio::test]
async fn a_failed_statement_fails_its_transaction() {
    each(|db| async move {
        let add = |id| sql("INSERT INTO account (id) VALUES ($1)").bind(id);
        let mut tx = db.begin().await.unwrap();
        add("a").execute(&mut tx).await.unwrap();
        add("a").execute(&mut tx).await.unwrap_err();
        assert!(matches!(add("b").execute(&mut tx).await, Err(Error::Aborted)));
        assert!(matches!(sql("SELECT id FROM account").fetch_all(&mut tx).await, Err(Error::Aborted)));
        assert!(matches!(tx.commit().await, Err(Error::Aborted)));
        assert_eq!(count(&db).await, 0);
        add("a").execute(&db).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn many_rows_go_in_with_few_statements() {
    each(|db| async move {
        let rows = |range: std::ops::Range<i64>| -> Vec<[Value; 2]> {
            range.map(|number| [format!("{number:04}").into(), number.into()]).collect()
        };
        let mut tx = db.begin().await.unwrap();
        let done = insert(&mut tx, "INSERT INTO account (id, counter)", rows(0..1000), "").await.unwrap();
        assert_eq!(done, 1000);
        let tail = "ON CONFLICT (id) DO NOTHING";
        let done = insert(&mut tx, "INSERT INTO account (id, counter)", rows(990..1003), tail).await.unwrap();
        assert_eq!(done, 3);
        assert_eq!(insert(&mut tx, "INSERT INTO account (id, counter)", rows(0..0), "").await.unwrap(), 0);
        tx.commit().await.unwrap();
        let row =
            sql("SELECT COUNT(*), CAST(SUM(counter) AS BIGINT) FROM account").fetch_one(&db).await.unwrap();
        assert_eq!(row.get::<i64>(0).unwrap(), 1003);
        assert_eq!(row.get::<i64>(1).unwrap(), 1003 * 1002 / 2);

        let some = dynamic(format!("SELECT COUNT(*) FROM account WHERE id IN {}", values(1, 3, 1)));
        let row = some.bind_all(["0001", "0002", "9999"]).fetch_one(&db).await.unwrap();
        assert_eq!(row.get::<i64>(0).unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn closing_waits_and_then_refuses() {
    for database in testing::databases(&MIGRATIONS).await {
        let db = database.database().clone();
        add(&db, "a").await;
        db.ping().await.unwrap();
        db.close().await;
        assert!(db.ping().await.unwrap_err().is_busy());
        assert!(db.begin().await.err().unwrap().is_busy());
        let reopened = Database::open(database.settings(), &MIGRATIONS, Durability::Full).await.unwrap();
        assert_eq!(count(&reopened).await, 1);
    }
}

#[tokio::test]
async fn only_what_may_pass_is_tried_again() {
    let attempts = AtomicU32::new(0);
    let next = || attempts.fetch_add(1, Ordering::Relaxed) + 1;
    let result = retry(|| async { if next() < 3 { Err(busy().await) } else { Ok(()) } }).await;
    assert!(result.is_ok());
    assert_eq!(attempts.swap(0, Ordering::Relaxed), 3);

    let result: Result<(), Error> = retry(|| async {
        next();
        Err(busy().await)
    })
    .await;
    assert!(result.unwrap_err().is_busy());
    assert_eq!(attempts.swap(0, Ordering::Relaxed), 3);

    let result: Result<(), Error> = retry(|| async {
        next();
        Err(Error::ForeignKey)
    })
    .await;
    assert!(matches!(result, Err(Error::ForeignKey)));
    assert_eq!(attempts.swap(0, Ordering::Relaxed), 1);
}

async fn busy() -> Error {
    let database = testing::sqlite(&MIGRATIONS).await;
    database.database().close().await;
    database.database().ping().await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlocks_and_lost_races_are_worth_a_retry() {
    let database = testing::postgres(&MIGRATIONS).await;
    let db = database.database().clone();
    add(&db, "a").await;
    add(&db, "b").await;
    let (attempts, both) = (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(2)));
    let swap = |first: &'static str, second: &'static str| {
        let (db, attempts, both) = (db.clone(), Arc::clone(&attempts), Arc::clone(&both));
        tokio::spawn(async move {
            retry(|| async {
                let bump = |id| sql("UPDATE account SET counter = counter + 1 WHERE id = $1").bind(id);
                let mut tx = db.begin().await?;
                bump(first).execute(&mut tx).await?;
                if attempts.fetch_add(1, Ordering::Relaxed) < 2 {
                    both.wait().await;
                }
                bump(second).execute(&mut tx).await?;
                tx.commit().await
            })
            .await
        })
    };
    let (one, two) = tokio::join!(swap("a", "b"), swap("b", "a"));
    one.unwrap().unwrap();
    two.unwrap().unwrap();
    assert_eq!((counter(&db, "a").await, counter(&db, "b").await), (2, 2));
    assert_eq!(attempts.load(Ordering::Relaxed), 3, "one of them lost once");

    // A serialisation failure, made by hand.
    let mut one = db.begin().await.unwrap();
    sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").execute(&mut one).await.unwrap();
    sql("SELECT counter FROM account WHERE id = 'a'").fetch_all(&mut one).await.unwrap();
    sql("UPDATE account SET counter = 0 WHERE id = 'a'").execute(&db).await.unwrap();
    let lost = sql("UPDATE account SET counter = 1 WHERE id = 'a'").execute(&mut one).await;
    assert!(lost.unwrap_err().is_busy());
}

#[tokio::test]
async fn migrating_twice_changes_nothing() {
    for database in testing::databases(&MIGRATIONS).await {
        add(database.database(), "a").await;
        let again = Database::open(database.settings(), &MIGRATIONS, Durability::Full).await.unwrap();
        assert_eq!(count(&again).await, 1);
    }
}

#[tokio::test]
async fn processes_that_start_together_migrate_once() {
    let database = testing::postgres(&Migrations { sqlite: &[], postgres: &[] }).await;
    let open = || Database::open(database.settings(), &MIGRATIONS, Durability::Full);
    let (one, two, three) = tokio::join!(open(), open(), open());
    for opened in [one, two, three] {
        assert_eq!(count(&opened.unwrap()).await, 0);
    }
}

const NEXT: Migration =
    Migration { version: 2, name: "more", sql: "CREATE TABLE more (id BIGINT PRIMARY KEY);" };

#[tokio::test]
async fn a_schema_grows_and_an_older_program_is_then_refused() {
    const GROWN: Migrations =
        Migrations { sqlite: &[MIGRATIONS.sqlite[0], NEXT], postgres: &[MIGRATIONS.postgres[0], NEXT] };
    for database in testing::databases(&MIGRATIONS).await {
        let db = Database::open(database.settings(), &GROWN, Durability::Full).await.unwrap();
        sql("INSERT INTO more (id) VALUES ($1)").bind(1).execute(&db).await.unwrap();
        match open(&database, &MIGRATIONS).await {
            Error::Migration(MigrationError::Newer { found: 2, known: 1 }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_schema_that_is_not_ours_is_refused() {
    const CHANGED: Migration =
        Migration { version: 1, name: "account", sql: "CREATE TABLE account (id TEXT);" };
    const BROKEN: Migration =
        Migration { version: 3, name: "broken", sql: "CREATE TABLE b (x TEXT); BROKEN;" };
    for database in testing::databases(&MIGRATIONS).await {
        let changed = Migrations { sqlite: &[CHANGED], postgres: &[CHANGED] };
        assert!(matches!(open(&database, &changed).await, Error::Migration(MigrationError::Changed(1))));
        let missing = Migrations { sqlite: &[NEXT], postgres: &[NEXT] };
        assert!(matches!(open(&database, &missing).await, Error::Migration(MigrationError::Missing(1))));
    }
    for database in testing::databases(&MIGRATIONS).await {
        let disorder = Migrations { sqlite: &[NEXT, CHANGED], postgres: &[NEXT, CHANGED] };
        assert!(matches!(open(&database, &disorder).await, Error::Migration(MigrationError::Disorder(1))));
        let broken = Migrations {
            sqlite: const { &[MIGRATIONS.sqlite[0], BROKEN] },
            postgres: const { &[MIGRATIONS.postgres[0], BROKEN] },
        };
        for _ in 0..2 {
            let error = open(&database, &broken).await;
            assert!(matches!(error, Error::Migration(MigrationError::Step { version: 3, .. })), "{error:?}");
        }
        // Nothing of it stayed.
        assert!(sql("SELECT x FROM b").fetch_all(database.database()).await.is_err());
        Database::open(database.settings(), &MIGRATIONS, Durability::Full).await.unwrap();
    }
}

async fn open(database: &TestDatabase, migrations: &Migrations) -> Error {
    Database::open(database.settings(), migrations, Durability::Full).await.err().unwrap()
}
