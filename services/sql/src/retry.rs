//! Trying again what lost a race.

use std::time::{Duration, Instant};

use crate::error::Error;

const ATTEMPTS: u32 = 3;

/// After this no new attempt is made: the caller's caller waits about as long.
const BUDGET: Duration = Duration::from_secs(2);

/// Errors that know whether doing the same again may succeed.
pub trait Transient {
    /// Whether nothing has happened, and the same may succeed in a moment.
    fn is_transient(&self) -> bool;
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        self.is_busy() && !self.is_silence()
    }
}

/// Runs `work`, a whole transaction from begin to commit, up to three times as long as it fails transiently.
///
/// Between attempts it waits for a few random milliseconds. What took longer than two seconds is not
/// repeated.
///
/// ```no_run
/// # use holdall_sql::{Database, Error, retry, sql};
/// # async fn f(db: &Database) -> Result<(), Error> {
/// retry(|| async {
///     let mut tx = db.begin().await?;
///     sql("UPDATE space SET used = used + 1").execute(&mut tx).await?;
///     tx.commit().await
/// })
/// .await
/// # }
/// ```
///
/// # Errors
/// The last attempt's.
pub async fn retry<T, E, F>(mut work: impl FnMut() -> F) -> Result<T, E>
where
    E: Transient,
    F: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    let mut attempt = 1;
    loop {
        match work().await {
            Err(error) if error.is_transient() && attempt < ATTEMPTS && started.elapsed() < BUDGET => {
                let pause = rand::random_range(5..=25 * u64::from(attempt));
                tokio::time::sleep(Duration::from_millis(pause)).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}
