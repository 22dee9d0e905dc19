//! Whether PostgreSQL answers at all. Its time limits for statements are kept by the server, and a server that is frozen keeps
//! none.

use std::io;
use std::sync::Arc;

use holdall_runtime::presence;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Error};
use tokio::sync::Mutex;

/// Watches over the statements of one pool.
#[derive(Clone)]
pub(crate) struct Presence(presence::Presence);

impl Presence {
    /// Of the server that these options lead to.
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        // Kept for the next question.
        let kept = Arc::new(Mutex::new(None));
        Self(presence::Presence::new("the database", move || {
            let (options, kept) = (options.clone(), Arc::clone(&kept));
            async move {
                let mut kept = kept.lock().await;
                match ask(kept.take(), &options).await {
                    Ok(connection) => {
                        *kept = Some(connection);
                        true
                    }
                    // It answers, if only to say that it has enough connections.
                    Err(error) => matches!(error, Error::Database(_)),
                }
            }
        }))
    }

    /// Runs a statement for as long as the server is there.
    pub(crate) async fn over<T>(
        &self,
        statement: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let silent = |silent| Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, silent)));
        self.0.over(statement).await.unwrap_or_else(silent)
    }
}

async fn ask(kept: Option<PgConnection>, options: &PgConnectOptions) -> Result<PgConnection, Error> {
    if let Some(mut connection) = kept
        && connection.ping().await.is_ok()
    {
        return Ok(connection);
    }
    options.connect().await
}
