//! Connections, lent out and taken back.
//!
//! sqlx's own pool sends a task and a ping after every use. Here a connection that was used up to a clean end
//! goes straight back, which makes short statements several times as fast; only one left in the middle of
//! something is put in order, or dropped, by a task of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, Error, Executor, PgConnection, SqliteConnection};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::watch;

/// How long an interrupted connection may take to come to order before it is dropped.
const ORDER: Duration = Duration::from_secs(5);

/// The two kinds of connection.
pub(crate) trait Driver: Connection + 'static {
    fn rollback(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Driver for SqliteConnection {
    async fn rollback(&mut self) -> Result<(), Error> {
        self.execute("ROLLBACK").await.map(drop)
    }
}

impl Driver for PgConnection {
    async fn rollback(&mut self) -> Result<(), Error> {
        self.execute("ROLLBACK").await.map(drop)
    }
}

/// When a connection is lent.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// How long to wait for a place, and for a connection to be made.
    pub(crate) wait: Duration,
    /// A connection that lay idle for longer is tested before it is lent.
    pub(crate) trusted: Duration,
    /// A connection older than this is replaced.
    pub(crate) lifetime: Duration,
}

pub(crate) struct Pool<C: Driver> {
    shared: Arc<Shared<C>>,
}

struct Shared<C: Driver> {
    options: C::Options,
    limits: Limits,
    places: Arc<Semaphore>,
    size: u32,
    idle: Mutex<Vec<Idle<C>>>,
    closed: AtomicBool,
    /// To be told whenever a connection comes back.
    used: Option<Arc<Notify>>,
}

struct Idle<C> {
    connection: C,
    born: Instant,
    since: Instant,
}

/// A connection on loan.
pub(crate) struct Lease<C: Driver> {
    connection: Option<C>,
    born: Instant,
    state: State,
    place: Option<OwnedSemaphorePermit>,
    shared: Arc<Shared<C>>,
}

#[derive(Clone, Copy)]
enum State {
    Clean,
    InStatement,
    InTransaction,
}

impl<C: Driver> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Driver> Pool<C> {
    /// A pool of at most `size` connections, none of which is made yet.
    pub(crate) fn new(options: C::Options, size: u32, limits: Limits) -> Self {
        Self::over(options, size, limits, places(size), None)
    }

    /// The same, that tells `used` of every connection that comes back.
    pub(crate) fn telling(options: C::Options, size: u32, limits: Limits, used: Arc<Notify>) -> Self {
        Self::over(options, size, limits, places(size), Some(used))
    }

    /// A pool of the same size with other options, which shares its places with this one: a connection lent
    /// by one cannot be had from the other.
    pub(crate) fn sibling(&self, options: C::Options) -> Self {
        let Shared { size, limits, places, used, .. } = &*self.shared;
        Self::over(options, *size, *limits, Arc::clone(places), used.clone())
    }

    fn over(
        options: C::Options,
        size: u32,
        limits: Limits,
        places: Arc<Semaphore>,
        used: Option<Arc<Notify>>,
    ) -> Self {
        let (idle, closed) = (Mutex::default(), AtomicBool::new(false));
        Self { shared: Arc::new(Shared { options, limits, places, size, idle, closed, used }) }
    }

    /// The connection used last among the idle ones, or a new one. Callers are served in the order in which
    /// they came.
    pub(crate) async fn acquire(&self) -> Result<Lease<C>, Error> {
        self.acquire_within(self.shared.limits.wait).await
    }

    /// The same for a caller who waits for as long as this.
    pub(crate) async fn acquire_within(&self, wait: Duration) -> Result<Lease<C>, Error> {
        let asked = Instant::now();
        let lent = tokio::time::timeout(wait, self.lend()).await;
        watch::waited(asked.elapsed());
        lent.unwrap_or(Err(Error::PoolTimedOut))
    }

    async fn lend(&self) -> Result<Lease<C>, Error> {
        let shared = Arc::clone(&self.shared);
        shared.check_open()?;
        let place = Arc::clone(&shared.places).acquire_owned().await.map_err(|_| Error::PoolClosed)?;
        shared.check_open()?;
        let (connection, born) = match shared.usable().await {
            Some(idle) => (idle.connection, idle.born),
            None => (shared.options.connect().await?, Instant::now()),
        };
        Ok(Lease { connection: Some(connection), born, state: State::Clean, place: Some(place), shared })
    }

    /// Refuses new loans, and those that were asked for.
    pub(crate) fn refuse(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    /// Refuses new loans, waits for those that are out, and closes every connection.
    pub(crate) async fn close(&self) {
        self.refuse();
        let shared = &self.shared;
        let _all = shared.places.acquire_many(shared.size).await;
        while let Some(idle) = shared.pop() {
            if let Err(error) = idle.connection.close().await {
                tracing::debug!(%error, "a database connection did not close cleanly");
            }
        }
    }
}

fn places(size: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS)))
}

impl<C: Driver> Shared<C> {
    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::PoolClosed) } else { Ok(()) }
    }

    fn pop(&self) -> Option<Idle<C>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn usable(&self) -> Option<Idle<C>> {
        while let Some(mut idle) = self.pop() {
            if idle.born.elapsed() > self.limits.lifetime {
                let _ = idle.connection.close().await;
            } else if idle.since.elapsed() <= self.limits.trusted || idle.connection.ping().await.is_ok() {
                return Some(idle);
            }
        }
        None
    }

    fn take_back(&self, connection: C, born: Instant, place: Option<OwnedSemaphorePermit>) {
        let idle = Idle { connection, born, since: Instant::now() };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        drop(place);
        if let Some(used) = &self.used {
            used.notify_one();
        }
    }
}

impl<C: Driver> Lease<C> {
    /// The connection, for a statement. Until [`Lease::done`] it counts as left in the middle of it.
    pub(crate) fn statement(&mut self) -> Result<&mut C, Error> {
        if matches!(self.state, State::Clean) {
            self.state = State::InStatement;
        }
        self.connection.as_mut().ok_or(Error::PoolClosed)
    }

    /// The connection, for the statement that begins a transaction. Until [`Lease::done`] it counts as in
    /// one.
    pub(crate) fn transaction(&mut self) -> Result<&mut C, Error> {
        self.state = State::InTransaction;
        self.connection.as_mut().ok_or(Error::PoolClosed)
    }

    /// The statement or transaction came to its end.
    pub(crate) fn done(&mut self) {
        self.state = State::Clean;
    }
}

impl<C: Driver> Drop for Lease<C> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (state, born, place, shared) =
            (self.state, self.born, self.place.take(), Arc::clone(&self.shared));
        if matches!(state, State::Clean) {
            return shared.take_back(connection, born, place);
        }
        // Without a runtime the connection is dropped, and the engine rolls back.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let order = async {
                match state {
                    State::InTransaction => connection.rollback().await,
                    State::InStatement | State::Clean => connection.ping().await,
                }
            };
            // The place is given up last: nobody else writes before the rollback is done.
            match tokio::time::timeout(ORDER, order).await {
                Ok(Ok(())) => shared.take_back(connection, born, place),
                Ok(Err(error)) => tracing::debug!(%error, "a database connection was dropped"),
                Err(_) => tracing::warn!("a database connection was dropped: it did not answer"),
            }
        });
    }
}
