//! The second stage: what was appended is made durable.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::append::{OpenPack, Unflushed};
use crate::store::counters::Counters;
use crate::store::gate::Gate;
use crate::store::lane::{Appended, Batch, WriteError};

/// Content that nobody waits for yet is flushed once there are so many bytes of it…
const ENOUGH: u64 = 32 << 20;
/// …or nothing more has come for so long.
const PATIENCE: Duration = Duration::from_millis(200);

/// Flushes until the appender is gone. While a flush runs, the appender goes on, and the next flush takes all of that.
pub fn run(written: &Receiver<Unflushed>, commits: &mpsc::Sender<Batch>, gate: &Gate, counters: &Counters) {
    while let Ok(first) = written.recv() {
        let mut waiting = vec![first];
        while !is_due(&waiting)
            && let Ok(next) = written.recv_timeout(PATIENCE)
        {
            waiting.push(next);
        }
        waiting.extend(written.try_iter());
        let mut flushed: Option<(Arc<OpenPack>, Result<(), WriteError>)> = None;
        for Unflushed { batch, pack, room } in waiting {
            let result = match &flushed {
                Some((last, result)) if Arc::ptr_eq(last, &pack) => *result,
                _ => {
                    let started = Instant::now();
                    let result = flush(&pack, gate);
                    counters.flush(started.elapsed());
                    flushed = Some((pack, result));
                    result
                }
            };
            drop(room);
            if let Err(error) = result {
                batch.fail(error);
            } else if let Err(refused) = commits.blocking_send(batch) {
                refused.0.fail(WriteError::Failed);
            }
        }
    }
}

/// Whether somebody waits for an answer, or much would be left to do when somebody does.
fn is_due(waiting: &[Unflushed]) -> bool {
    let is_awaited = |entry: &Appended| entry.reply.answer.is_some();
    waiting.last().is_some_and(|last| last.batch.entries.iter().any(is_awaited))
        || waiting.iter().map(|one| one.room.num_permits() as u64).sum::<u64>() >= ENOUGH
}

fn flush(pack: &OpenPack, gate: &Gate) -> Result<(), WriteError> {
    pack.flush().map_err(|error| {
        tracing::error!(pack = %pack.id(), %error, "cannot flush a pack; it is given up");
        gate.report(&error)
    })
}
