//! One question for all who ask at a time.
//!
//! Where an answer is small and soon out of date, such as whether something has changed, what it costs is asking. So those who
//! ask while a question is under way wait for the next one, which is sent after they asked: each gets an answer from after its
//! own call, and however many ask, the other side is asked about as often as it answers. One who asks alone waits for nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use crate::trace;

/// What does not answer for so long keeps nobody else waiting.
const PATIENCE: Duration = Duration::from_millis(25);

/// Asks questions of one kind. Clones ask together.
pub struct Together<Q, A>(Arc<Shared<Q, A>>);

struct Shared<Q, A> {
    most: usize,
    ask: Ask<Q, A>,
    queue: Mutex<Queue<Q, A>>,
}

type Ask<Q, A> = Box<dyn Fn(Vec<Q>) -> BoxFuture<'static, Vec<A>> + Send + Sync>;

struct Queue<Q, A> {
    waiting: Vec<Waiting<Q, A>>,
    /// Whether somebody sees to those who wait.
    is_served: bool,
}

struct Waiting<Q, A> {
    question: Q,
    span: Span,
    answer: oneshot::Sender<A>,
}

impl<Q, A> Clone for Together<Q, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q: Send + 'static, A: Send + 'static> Together<Q, A> {
    /// `ask` gets at most `most` questions, at least one, and gives as many answers in the same order.
    pub fn new(
        most: usize,
        ask: impl Fn(Vec<Q>) -> BoxFuture<'static, Vec<A>> + Send + Sync + 'static,
    ) -> Self {
        let queue = Mutex::new(Queue { waiting: Vec::new(), is_served: false });
        Self(Arc::new(Shared { most: most.max(1), ask: Box::new(ask), queue }))
    }

    /// The answer to a question, which is asked after this call. `None` when asking ended without one.
    pub async fn ask(&self, question: Q) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { question, span: Span::current(), answer };
        let was_served = self.0.with(|queue| {
            queue.waiting.push(waiting);
            std::mem::replace(&mut queue.is_served, true)
        });
        if !was_served {
            // A task of its own: whoever is first may go away, and others wait too.
            tokio::spawn(serve(Arc::clone(&self.0)));
        }
        answered.await.ok()
    }
}

impl<Q, A> Shared<Q, A> {
    fn with<T>(&self, work: impl FnOnce(&mut Queue<Q, A>) -> T) -> T {
        // A panic while it is locked is not possible: nothing in here runs code of others.
        work(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those who have waited longest; when nobody waits, nobody is served any more.
    fn next(&self) -> Vec<Waiting<Q, A>> {
        self.with(|queue| {
            let count = queue.waiting.len().min(self.most);
            queue.is_served = count > 0;
            queue.waiting.drain(..count).collect()
        })
    }
}

async fn serve<Q: Send + 'static, A: Send + 'static>(shared: Arc<Shared<Q, A>>) {
    loop {
        let mut waiting = shared.next();
        if waiting.is_empty() {
            return;
        }
        waiting.retain(|waiting| !waiting.answer.is_closed());
        if waiting.is_empty() {
            continue;
        }
        let span = trace::shared(waiting.iter().map(|waiting| &waiting.span));
        let (questions, answers): (Vec<Q>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.question, waiting.answer)).unzip();
        let asking = (shared.ask)(questions);
        let telling = async move {
            for (answer, told) in answers.into_iter().zip(asking.await) {
                // Whoever went away does not want to know.
                let _ = answer.send(told);
            }
        };
        // If it panics, those who wait are told that there is no answer.
        let mut telling = tokio::spawn(telling.instrument(span));
        let _ = tokio::time::timeout(PATIENCE, &mut telling).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// Doubles numbers when it may, and counts how often it is asked.
    fn doubler(most: usize) -> (Together<u32, u32>, Arc<Semaphore>, Arc<AtomicUsize>) {
        let (may, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, count) = (Arc::clone(&may), Arc::clone(&asked));
        let together = Together::new(most, move |questions: Vec<u32>| {
            assert!((1..=most).contains(&questions.len()));
            count.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                questions.into_iter().map(|number| 2 * number).collect()
            }
            .boxed()
        });
        (together, may, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_answered_together_and_each_their_own() {
        let (together, may, asked) = doubler(50);
        let first = tokio::spawn({
            let together = together.clone();
            async move { together.ask(1).await }
        });
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let others = tokio::spawn(join_all((2..100).map(|number| {
            let together = together.clone();
            async move { (together.ask(number).await, number) }
        })));
        tokio::task::yield_now().await;
        may.add_permits(3);
        assert_eq!(first.await.unwrap(), Some(2));
        for (answer, number) in others.await.unwrap() {
            assert_eq!(answer, Some(2 * number));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_without_an_answer_does_not_hold_up_the_next() {
        let (together, may, asked) = doubler(1);
        let first = tokio::spawn({
            let together = together.clone();
            async move { together.ask(1).await }
        });
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // The paused clock moves when nothing else does.
        let second = tokio::spawn(async move { together.ask(2).await });
        while asked.load(Ordering::SeqCst) == 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        may.add_permits(2);
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Some(2), Some(4)));
    }

    #[tokio::test]
    async fn asking_that_breaks_off_leaves_nobody_waiting() {
        let together: Together<u32, u32> = Together::new(8, |_| async { panic!("as a test") }.boxed());
        assert_eq!(together.ask(1).await, None);
        assert_eq!(together.ask(2).await, None);
    }
}
