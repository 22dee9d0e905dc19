//! Checkpoints of SQLite's log beside its writers.
//!
//! SQLite checkpoints in the commit that fills the log: whoever comes then waits until a thousand pages are moved and flushed
//! twice. Here a connection of its own moves them while others write, and waits for none of them
//! (`PRAGMA wal_checkpoint(PASSIVE)`, see sqlite.org/pragma.html). The log is begun anew by a commit that finds it long and
//! next to nothing left to move.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What is written in this time is moved together: a page that was written often only once.
const PAUSE: Duration = Duration::from_millis(250);

/// Pages in the log after which commits checkpoint it themselves.
pub(crate) const LONG: &str = "8192";

/// The task that checkpoints a database.
#[derive(Clone)]
pub(crate) struct Checkpoints {
    stop: Arc<Notify>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Checkpoints {
    /// Starts it. It is told of what may have been written by `wrote`, and makes its connection then.
    pub(crate) fn start(options: SqliteConnectOptions, wrote: Arc<Notify>) -> Self {
        let stop = Arc::new(Notify::new());
        let task = tokio::spawn(run(options, wrote, Arc::clone(&stop)));
        Self { stop, task: Arc::new(Mutex::new(Some(task))) }
    }

    /// Ends it, and closes its connection.
    pub(crate) async fn close(&self) {
        self.stop.notify_one();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "checkpoints ended early");
        }
    }
}

async fn run(options: SqliteConnectOptions, wrote: Arc<Notify>, stop: Arc<Notify>) {
    let mut connection = None;
    let next = async || {
        wrote.notified().await;
        tokio::time::sleep(PAUSE).await;
    };
    let stopped = async || stop.notified().await;
    let mut stopped = std::pin::pin!(stopped());
    loop {
        tokio::select! {
            () = next() => {}
            () = &mut stopped => break,
        }
        connection = match checkpoint(connection, &options).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                // The commits do it then.
                tracing::debug!(%error, "a checkpoint failed");
                None
            }
        };
    }
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::debug!(%error, "a database connection did not close cleanly");
    }
}

async fn checkpoint(
    connection: Option<SqliteConnection>,
    options: &SqliteConnectOptions,
) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => options.connect().await?,
    };
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await?;
    Ok(connection)
}
