//! Inserting many rows with few statements.

use std::fmt::Write;

use crate::error::Error;
use crate::statement::{Statement, Value, dynamic};
use crate::transaction::Transaction;

/// The most parameters that one statement can have on both engines (SQLite's default limit; PostgreSQL has
/// 65,535).
pub const MAX_PARAMETERS: usize = 32_766;

/// Rows per statement at most: beyond this the gain is lost in the noise.
const MAX_ROWS: usize = 256;

/// So many rows go out with one statement, whatever their number: each statement is a way to the server and back.
const MAX_EXACT: usize = 16;

/// Inserts `rows` and returns how many rows it inserted or changed.
///
/// The statement is `head VALUES ($1,$2,…),(…),… tail`, with as many values to a row as `N`:
///
/// ```no_run
/// # use holdall_sql::{Error, Transaction, Value, insert};
/// # async fn f(tx: &mut Transaction) -> Result<(), Error> {
/// let rows: Vec<[Value; 2]> = vec![["a".into(), 1.into()], ["b".into(), 2.into()]];
/// insert(tx, "INSERT INTO tag (name, weight)", rows, "ON CONFLICT DO NOTHING").await?;
/// # Ok(())
/// # }
/// ```
///
/// Many rows go out in powers of two, so that few different statements are prepared.
///
/// # Errors
/// As [`Error`] tells.
pub async fn insert<const N: usize>(
    tx: &mut Transaction,
    head: &'static str,
    rows: Vec<[Value; N]>,
    tail: &'static str,
) -> Result<u64, Error> {
    let mut affected = 0;
    for statement in inserts(head, rows, tail) {
        affected += statement.execute(&mut *tx).await?;
    }
    Ok(affected)
}

/// The statements of [`insert`], to be run otherwise.
pub fn inserts<const N: usize>(
    head: &'static str,
    rows: Vec<[Value; N]>,
    tail: &'static str,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut rows = rows.into_iter();
    while let Some(size) = batch(rows.len(), N) {
        let text = format!("{head} VALUES {} {tail}", values(1, N, size));
        statements.push(dynamic(text).bind_all(rows.by_ref().take(size).flatten()));
    }
    statements
}

/// All rows when they are few; else the largest power of two that is not above `rows`, [`MAX_ROWS`] and what the
/// parameters allow; `None` for no rows.
fn batch(rows: usize, columns: usize) -> Option<usize> {
    let most = rows.min(MAX_ROWS).min(MAX_PARAMETERS / columns.max(1));
    let power = 1 << most.checked_ilog2()?;
    Some(if most <= MAX_EXACT { most } else { power })
}

/// `($1,$2),($3,$4)`: placeholders for `rows` rows of `columns` values, numbered from `first`.
#[must_use]
pub fn values(first: usize, columns: usize, rows: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            let separator = if column == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(text, "{separator}${}", first + row * columns + column);
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_through() {
        assert_eq!(values(1, 2, 2), "($1,$2),($3,$4)");
        assert_eq!(values(3, 1, 3), "($3),($4),($5)");
        assert_eq!(values(1, 2, 0), "");
    }

    #[test]
    fn few_rows_go_together_and_many_in_powers_of_two_within_both_limits() {
        assert_eq!(batch(0, 3), None);
        assert_eq!(batch(1, 3), Some(1));
        assert_eq!(batch(7, 3), Some(7));
        assert_eq!(batch(16, 3), Some(16));
        assert_eq!(batch(31, 3), Some(16));
        assert_eq!(batch(100_000, 3), Some(256));
        assert_eq!(batch(100_000, 200), Some(128));
        assert_eq!(batch(100_000, 40_000), None);
    }
}
