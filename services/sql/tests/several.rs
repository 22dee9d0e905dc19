//! Several statements in one go, and how SQLite is built for them.
#![expect(clippy::unwrap_used, reason = "tests")]

use holdall_sql::testing;
use holdall_sql::{Database, Error, Migration, Migrations, dynamic, execute_each, sql, values};

const SCHEMA: &str =
    "CREATE TABLE label (id TEXT PRIMARY KEY, name TEXT); CREATE TABLE token (id TEXT PRIMARY KEY);";
const MIGRATIONS: Migrations = Migrations {
    sqlite: &[Migration { version: 1, name: "label", sql: SCHEMA }],
    postgres: &[Migration { version: 1, name: "label", sql: SCHEMA }],
};

async fn count(db: &Database) -> i64 {
    sql("SELECT COUNT(*) FROM label").fetch_one(db).await.unwrap().get(0).unwrap()
}

async fn each<F: Future<Output = ()>>(mut test: impl FnMut(Database) -> F) {
    for database in testing::databases(&MIGRATIONS).await {
        test(database.database().clone()).await;
    }
}

#[tokio::test]
async fn several_statements_say_what_each_has_done() {
    each(|db| async move {
        let insert = |first: usize, rows: usize| {
            let text = format!(
                "INSERT INTO label (id, name) VALUES {} ON CONFLICT (id) DO NOTHING",
                values(1, 2, rows)
            );
            let ids = (first..first + rows).flat_map(|n| [n.to_string(), format!("name of {n}")]);
            dynamic(text).bind_all(ids)
        };
        assert!(execute_each(Vec::new(), &db).await.unwrap().is_empty());
        assert_eq!(execute_each(vec![insert(0, 3)], &db).await.unwrap(), [3]);
        assert_eq!(
            execute_each(vec![insert(1, 4), insert(5, 20), insert(5, 1)], &db).await.unwrap(),
            [2, 20, 0]
        );
        let name = sql("SELECT name FROM label WHERE id = $1").bind("24").fetch_one(&db).await.unwrap();
        assert_eq!(name.get::<String>(0).unwrap(), "name of 24");
        // Numbers that cannot be left away.
        let swap = || sql("UPDATE label SET name = $2 WHERE id = $1 OR name = $1").bind("1").bind("other");
        assert_eq!(execute_each(vec![swap(), insert(30, 1)], &db).await.unwrap(), [1, 1]);
        assert_eq!(count(&db).await, 26);
    })
    .await;
}

#[tokio::test]
async fn one_of_several_statements_that_fails_leaves_the_database_usable() {
    each(|db| async move {
        sql("INSERT INTO label (id, name) VALUES ('a', 'first')").execute(&db).await.unwrap();
        let good = |id: &str| sql("INSERT INTO label (id) VALUES ($1)").bind(id);
        let bad = sql("INSERT INTO label (id, name) VALUES ($1, NULL), ($2, NULL)").bind("c").bind("a");
        assert!(matches!(execute_each(vec![good("b"), bad], &db).await, Err(Error::UniqueViolation { .. })));
        let first = sql("SELECT name FROM label WHERE id = 'a'").fetch_one(&db).await.unwrap();
        assert_eq!(first.get::<String>(0).unwrap(), "first");
        let is_there = sql("SELECT id FROM label WHERE id = 'c'").fetch_optional(&db).await.unwrap();
        assert!(is_there.is_none(), "a statement was done by half");
        assert_eq!(count(&db).await, 2, "the one before it was done");
        assert_eq!(execute_each(vec![good("d"), sql("DELETE FROM token")], &db).await.unwrap(), [1, 0]);
    })
    .await;
}

#[tokio::test]
async fn connections_to_sqlite_share_no_lock() {
    let database = testing::sqlite(&MIGRATIONS).await;
    let options = sql(
        "SELECT sqlite_compileoption_used('ENABLE_MEMORY_MANAGEMENT'), sqlite_compileoption_used('DEFAULT_MEMSTATUS=0')",
    );
    let row = options.fetch_one(database.database()).await.unwrap();
    let used: (i64, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
    assert_eq!(used, (0, 1), "the flags in .cargo/config.toml are missing");
}
