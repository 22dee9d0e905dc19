//! What writers do to a server while something befalls it.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tonic::Status;

use crate::content::Content;
use crate::home::{Home, Server};
use crate::ledger::Ledger;

/// Writers at work on one server.
pub struct Writers<'a> {
    pub home: &'a Home,
    pub server: &'a Server,
    pub ledger: &'a Ledger,
    pub seeds: &'a AtomicU64,
}

/// A finite amount of work. Each way to write has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// Large blobs, one after the other, over more than a pack.
    Large,
    /// Many small blobs by many writers.
    Small,
    /// Both at once, with content that is there already.
    Mixed,
}

impl Scenario {
    pub const ALL: [Self; 3] = [Self::Large, Self::Small, Self::Mixed];

    /// Does all of it, or as much as goes well: a writer gives up at its first failure.
    pub async fn run(self, writers: &Writers<'_>) -> Result<(), Status> {
        let writers: Vec<BoxFuture<'_, Result<(), Status>>> = match self {
            Self::Large => vec![writers.fresh([9 << 20, 300_000, 8 << 20]).boxed()],
            Self::Small => (0..8)
                .map(|_| writers.fresh([100, 4096, 70_000, 0, 4096, 200_000, 5000, 262_144]).boxed())
                .collect(),
            Self::Mixed => (0..4)
                .map(|_| writers.fresh([4096, 20_000, 100]).boxed())
                .chain([
                    writers.fresh([5 << 20, 700_000, 3 << 20]).boxed(),
                    writers.twice([2 << 20, 60_000, 900_000, 3000]).boxed(),
                ])
                .collect(),
        };
        join_all(writers).await.into_iter().collect()
    }
}

impl Writers<'_> {
    fn next(&self, len: usize) -> Content {
        Content { seed: self.seeds.fetch_add(1, Ordering::Relaxed), len }
    }

    /// One writer of content that is not there yet.
    async fn fresh<const N: usize>(&self, lens: [usize; N]) -> Result<(), Status> {
        let mut client = self.server.client();
        for len in lens {
            self.ledger.write(self.home, &mut client, self.next(len)).await?;
        }
        Ok(())
    }

    /// Two writers of the same.
    async fn twice<const N: usize>(&self, lens: [usize; N]) -> Result<(), Status> {
        let (mut one, mut other) = (self.server.client(), self.server.client());
        for len in lens {
            let content = self.next(len);
            let (one, other) = futures::join!(
                self.ledger.write(self.home, &mut one, content),
                self.ledger.write(self.home, &mut other, content),
            );
            one.and(other)?;
        }
        Ok(())
    }
}
