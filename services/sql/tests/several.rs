//! Several statements in one go, and how SQLite is built for them.
#![expect(clippy::unwrap_used, reason = "tests")]

use holdall_sql::testing;
use holdall_sql::{
    Database, Error, MAX_PARAMETERS, Migration, Migrations, Statement, dynamic, execute_each,
    execute_together, inserts, sql, values,
};

const SCHEMA: &str = "CREATE TABLE label (id TEXT PRIMARY KEY, name TEXT); CREATE TABLE token (id TEXT PRIMARY KEY REFERENCES label);";
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

/// Inserts labels of these numbers.
fn labels(numbers: std::ops::Range<usize>) -> Vec<Statement> {
    let rows = numbers.map(|number| [number.to_string().into(), format!("name of {number}").into()]);
    inserts("INSERT INTO label (id, name)", rows.collect(), "")
}

#[tokio::test]
async fn statements_that_run_together_all_have_effect_and_refer_to_each_other() {
    each(|db| async move {
        let mut tx = db.begin().await.unwrap();
        execute_together(Vec::new(), &mut tx).await.unwrap();
        execute_together(labels(0..1), &mut tx).await.unwrap();
        let mut statements = labels(1..40);
        statements.push(sql("INSERT INTO token (id) VALUES ($1), ($2)").bind("0").bind("39"));
        statements.push(sql("UPDATE label SET name = $1 WHERE id = $2").bind("other").bind("0"));
        execute_together(statements, &mut tx).await.unwrap();
        // Numbers that are not in order, and one twice.
        let rename = |id| sql("UPDATE label SET name = $2 WHERE id = $1 OR name = $1").bind(id).bind("third");
        execute_together(vec![rename("1"), rename("other"), sql("DELETE FROM token")], &mut tx)
            .await
            .unwrap();
        // More values than one statement can have.
        let many = MAX_PARAMETERS + 100;
        execute_together(labels(40..many), &mut tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(usize::try_from(count(&db).await).unwrap(), many);
        let third =
            sql("SELECT id FROM label WHERE name = 'third' ORDER BY id").fetch_all(&db).await.unwrap();
        let third: Vec<String> = third.iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(third, ["0", "1"]);
    })
    .await;
}

#[tokio::test]
async fn of_statements_that_run_together_none_has_effect_when_one_fails() {
    each(|db| async move {
        let mut tx = db.begin().await.unwrap();
        let mut statements = labels(0..2);
        statements.extend(labels(1..3));
        let failed = execute_together(statements, &mut tx).await;
        assert!(matches!(failed, Err(Error::UniqueViolation { .. })), "{failed:?}");
        assert!(matches!(tx.commit().await, Err(Error::Aborted)));
        assert_eq!(count(&db).await, 0);
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
