//! Threads for what keeps a processor busy and makes new bytes: cutting, hashing, compressing, encrypting.
//!
//! There are as many as processors. More would only take turns, and cost memory without bound: an allocator that keeps memory by
//! thread gets back what others free only when the thread asks again, so each thread may come to hold some of every size that it
//! ever made. The threads that may block are many, and take turns at everything.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Threads are kept for so long when there is nothing to do.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The threads. When it is dropped, what was begun is finished and what was not may never be.
#[derive(Debug)]
pub struct Compute(Option<Runtime>);

impl Compute {
    /// Threads that are started when they are needed.
    ///
    /// # Errors
    /// When the system has no more to give.
    pub fn new() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(processors)
            .thread_keep_alive(KEPT)
            .thread_name("compute")
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Does work as soon as a thread is free. Work must not wait for other work.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn_blocking(work),
            // Only while it is being dropped.
            None => tokio::task::spawn_blocking(work),
        }
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        // It may be dropped by a task, which must not wait for threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn much_work_is_done_by_few_threads() {
        let compute = Compute::new().unwrap();
        let work = (0..200).map(|number| compute.run(move || (number, thread::current().id())));
        let done: Vec<_> = join_all(work).await.into_iter().map(Result::unwrap).collect();
        assert!(done.iter().map(|(number, _)| *number).eq(0..200));
        let threads: HashSet<_> = done.into_iter().map(|(_, thread)| thread).collect();
        assert!(threads.len() <= thread::available_parallelism().unwrap().get());
        assert!(!threads.contains(&thread::current().id()));
    }

    #[tokio::test]
    async fn work_that_panics_takes_no_thread_along() {
        let compute = Compute::new().unwrap();
        for _ in 0..10 {
            let panics = compute.run(|| assert!(std::hint::black_box(false), "on purpose"));
            assert!(panics.await.unwrap_err().is_panic());
        }
        assert_eq!(compute.run(|| 1).await.unwrap(), 1);
    }
}
