//! What jobs are told, and what they tell.
//!
//! The [`Board`] is what everybody sees: how each job stands, and what is wanted of it. A job has a [`Control`]: it waits for
//! its turn, does its work, and asks at each safe point whether it goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Which job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Deleting what is not used any more.
    Collect,
    /// Emptying packs that are mostly dead.
    Compact,
    /// Looking for damage.
    Scrub,
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Collect, Self::Compact, Self::Scrub];

    /// Its name: that of its lease, too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Compact => "compact",
            Self::Scrub => "scrub",
        }
    }

    fn of<T>(self, [collect, compact, scrub]: &[T; 3]) -> &T {
        match self {
            Self::Collect => collect,
            Self::Compact => compact,
            Self::Scrub => scrub,
        }
    }

    fn of_mut<T>(self, [collect, compact, scrub]: &mut [T; 3]) -> &mut T {
        match self {
            Self::Collect => collect,
            Self::Compact => compact,
            Self::Scrub => scrub,
        }
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It was never begun.
    #[default]
    Disabled,
    /// It waits for its time.
    Waiting,
    /// It is at work, under its lease.
    Running,
    /// Somebody has stopped it.
    Stopped,
}

impl State {
    fn at_rest(is_stopped: bool) -> Self {
        if is_stopped { Self::Stopped } else { Self::Waiting }
    }
}

/// How far a cycle is, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blobs that metadata was asked about.
    pub blobs: u64,
    /// Bytes of packs that are behind it.
    pub bytes: u64,
    /// Of so many.
    pub total_bytes: Option<u64>,
    /// Whether all packs were seen to be encrypted as configured.
    pub is_encrypted: bool,
}

/// How a job stands. Times are Unix microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What it does.
    pub state: State,
    /// Whether this process has its lease.
    pub has_lease: bool,
    /// How far its cycle is.
    pub progress: Progress,
    /// Why it broke off, in words that tell nothing of the inside; none once it has come to an end again.
    pub failure: Option<String>,
    /// When it last took its lease.
    pub started_at: Option<i64>,
    /// When it last gave it back.
    pub ended_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    AsUsual,
    Now,
    Stop,
}

/// What is wanted of a job. The number tells one wish from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    number: u64,
    wish: Wish,
}

/// The job is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disabled;

/// How all jobs of this process stand. Clones are the same.
#[derive(Clone, Debug)]
pub struct Board(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    statuses: watch::Sender<[Status; 3]>,
    orders: [watch::Sender<Order>; 3],
    end: CancellationToken,
}

impl Default for Board {
    fn default() -> Self {
        let order = Order { number: 0, wish: Wish::AsUsual };
        Self(Arc::new(Shared {
            statuses: watch::Sender::default(),
            orders: Kind::ALL.map(|_| watch::Sender::new(order)),
            end: CancellationToken::new(),
        }))
    }
}

impl Board {
    /// How the jobs stand, and will.
    pub fn watch(&self) -> watch::Receiver<[Status; 3]> {
        self.0.statuses.subscribe()
    }

    /// How one stands.
    pub fn status(&self, kind: Kind) -> Status {
        kind.of(&self.0.statuses.borrow()).clone()
    }

    /// Ends when nothing changes any more, because the process stops.
    pub fn end(&self) -> &CancellationToken {
        &self.0.end
    }

    /// Has a job look for work now, and ends a stop. Nothing changes while it runs.
    pub fn start(&self, kind: Kind) -> Result<(), Disabled> {
        let state = self.enabled(kind)?;
        kind.of(&self.0.orders).send_if_modified(|order| {
            let is_new = order.wish == Wish::Stop || state != State::Running;
            if is_new {
                *order = Order { number: order.number + 1, wish: Wish::Now };
                // Under the lock of the order, so that the state is that of the last one.
                self.replace(kind, State::Stopped, State::Waiting);
            }
            is_new
        });
        Ok(())
    }

    /// Stops a job at its next safe point.
    pub fn stop(&self, kind: Kind) -> Result<(), Disabled> {
        self.enabled(kind)?;
        kind.of(&self.0.orders).send_if_modified(|order| {
            let is_new = order.wish != Wish::Stop;
            if is_new {
                *order = Order { number: order.number + 1, wish: Wish::Stop };
                self.replace(kind, State::Waiting, State::Stopped);
            }
            is_new
        });
        Ok(())
    }

    /// The handle of the job itself, which is there from now on.
    pub fn control(&self, kind: Kind) -> Control {
        self.replace(kind, State::Disabled, State::Waiting);
        let orders = kind.of(&self.0.orders).subscribe();
        let number = orders.borrow().number;
        Control { board: self.clone(), kind, orders, number }
    }

    fn enabled(&self, kind: Kind) -> Result<State, Disabled> {
        match kind.of(&self.0.statuses.borrow()).state {
            State::Disabled => Err(Disabled),
            state => Ok(state),
        }
    }

    fn replace(&self, kind: Kind, old: State, new: State) {
        self.0.statuses.send_if_modified(|all| {
            let status = kind.of_mut(all);
            let is_old = status.state == old;
            if is_old {
                status.state = new;
            }
            is_old
        });
    }
}

/// Why a job has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is its time.
    Due,
    /// Somebody wants it: a cycle begins, unless one has begun.
    Asked,
}

/// A job's side of the board.
#[derive(Debug)]
pub struct Control {
    board: Board,
    kind: Kind,
    orders: watch::Receiver<Order>,
    /// Of the order that the job follows.
    number: u64,
}

impl Control {
    /// Which job it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Waits for the next turn: `interval` from now, or when somebody wants it; while it is stopped, for that alone.
    pub async fn turn(&mut self, interval: Duration) -> Turn {
        loop {
            let Order { number, wish } = *self.orders.borrow_and_update();
            let is_new = std::mem::replace(&mut self.number, number) != number;
            if is_new && wish == Wish::Now {
                return Turn::Asked;
            }
            let is_stopped = wish == Wish::Stop;
            self.note(|status| status.state = State::at_rest(is_stopped));
            // The board, which this holds, has the other end.
            tokio::select! {
                _ = self.orders.changed() => {}
                () = tokio::time::sleep(interval), if !is_stopped => return Turn::Due,
            }
        }
    }

    /// Whether the job may go on: nobody has wanted anything else since its turn began.
    pub fn goes_on(&self) -> bool {
        self.orders.borrow().number == self.number
    }

    /// Rests for a time, or until the job may not go on. Returns whether it may.
    pub async fn rest(&self, time: Duration) -> bool {
        let mut orders = self.orders.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => self.goes_on(),
            _ = orders.wait_for(|order| order.number != self.number) => false,
        }
    }

    /// Tells that the lease is taken and work begins.
    pub fn begin(&self, now: i64) {
        self.note(|status| {
            status.state = State::Running;
            status.has_lease = true;
            status.started_at = Some(now);
        });
    }

    /// Tells that the lease is given back.
    pub fn end(&self, now: i64) {
        let is_stopped = self.orders.borrow().wish == Wish::Stop;
        self.note(|status| {
            status.state = State::at_rest(is_stopped);
            status.has_lease = false;
            status.ended_at = Some(now);
        });
    }

    /// Tells whether the work failed.
    pub fn result<E: std::error::Error>(&self, result: &Result<(), E>) {
        self.note(|status| status.failure = result.as_ref().err().map(ToString::to_string));
    }

    /// Tells how far it is.
    pub fn progress(&self, change: impl FnOnce(&mut Progress)) {
        self.note(|status| change(&mut status.progress));
    }

    fn note(&self, change: impl FnOnce(&mut Status)) {
        self.board.0.statuses.send_if_modified(|all| {
            let status = self.kind.of_mut(all);
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1_000_000);

    #[tokio::test]
    async fn an_order_ends_the_turn_and_a_start_begins_the_next() {
        let board = Board::default();
        assert_eq!((board.start(Kind::Scrub), board.stop(Kind::Scrub)), (Err(Disabled), Err(Disabled)));
        let mut control = board.control(Kind::Scrub);
        assert_eq!(control.turn(Duration::ZERO).await, Turn::Due);
        control.begin(1);
        board.start(Kind::Scrub).unwrap();
        assert!(control.goes_on(), "it runs already");
        board.stop(Kind::Scrub).unwrap();
        assert!(!control.goes_on() && !control.rest(LONG).await);
        assert_eq!(board.status(Kind::Scrub).state, State::Running, "it has not come to a safe point");
        // Even when it is started again before it has noticed.
        board.start(Kind::Scrub).unwrap();
        assert!(!control.goes_on());
        control.end(2);
        assert_eq!(board.status(Kind::Scrub).state, State::Waiting);
        assert_eq!(control.turn(LONG).await, Turn::Asked);
        assert!(control.goes_on() && control.rest(Duration::ZERO).await);
        assert_eq!(board.status(Kind::Collect), Status::default());
    }

    #[tokio::test]
    async fn a_stopped_job_waits_for_a_start() {
        let board = Board::default();
        let mut control = board.control(Kind::Collect);
        board.stop(Kind::Collect).unwrap();
        assert_eq!(board.status(Kind::Collect).state, State::Stopped);
        {
            let turn = control.turn(Duration::ZERO);
            tokio::pin!(turn);
            assert!(futures::poll!(&mut turn).is_pending(), "its time does not come");
            board.start(Kind::Collect).unwrap();
            assert_eq!(turn.await, Turn::Asked);
        }
        assert_eq!(board.status(Kind::Collect).state, State::Waiting);
    }

    #[tokio::test]
    async fn a_job_that_was_stopped_at_work_is_stopped_when_it_ends() {
        let board = Board::default();
        let mut control = board.control(Kind::Compact);
        assert_eq!(control.turn(Duration::ZERO).await, Turn::Due);
        control.begin(1);
        board.stop(Kind::Compact).unwrap();
        control.end(2);
        control.result(&Err::<(), _>(std::io::Error::other("no")));
        let status = board.status(Kind::Compact);
        assert_eq!((status.state, status.failure.as_deref()), (State::Stopped, Some("no")));
        control.result(&Ok::<(), std::io::Error>(()));
        assert_eq!(board.status(Kind::Compact).failure, None);
    }
}
