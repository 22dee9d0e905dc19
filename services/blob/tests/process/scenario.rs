//! What writers do to a server while something befalls it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tonic::Status;

use crate::content::Content;
use crate::home::{Home, Server};
use crate::ledger::Ledger;

/// All of the work is done within this time, or has failed: whoever writes to a server that is gone is told so.
const LIMIT: Duration = Duration::from_secs(120);

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
    /// Many small blobs in a few streams.
    Batched,
    /// Uploads in several goes: those first that were broken off. Some are given up.
    Resumed,
    /// Blobs of which a part is there already.
    Delta,
}

impl Scenario {
    pub const ALL: [Self; 6] =
        [Self::Large, Self::Small, Self::Mixed, Self::Batched, Self::Resumed, Self::Delta];

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
            Self::Batched => (0..3).map(|_| writers.batched().boxed()).collect(),
            Self::Resumed => [[2 << 20, 70_000], [5000, 3 << 20], [900_000, 0]]
                .map(|lens| writers.resumed(lens).boxed())
                .into_iter()
                .chain([writers.given_up([700_000, 100]).boxed()])
                .collect(),
            Self::Delta => vec![
                writers.changed([5 << 20, 7 << 20, 6 << 20]).boxed(),
                writers.changed([5 << 20, 6 << 20]).boxed(),
                writers.fresh([4096, 70_000, 100]).boxed(),
            ],
        };
        let all = join_all(writers);
        let results = tokio::time::timeout(LIMIT, all).await;
        results
            .unwrap_or_else(|_| panic!("{self:?}: a writer waits for what does not come"))
            .into_iter()
            .collect()
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

    /// One writer of many small blobs.
    async fn batched(&self) -> Result<(), Status> {
        let lens = [100, 4096, 70_000, 0, 262_144, 5000, 1, 20_000];
        let contents: Vec<_> = lens.iter().cycle().take(32).map(|len| self.next(*len)).collect();
        self.ledger.write_batch(self.home, &mut self.server.client(), &contents).await
    }

    /// One writer of uploads in several goes.
    async fn resumed<const N: usize>(&self, lens: [usize; N]) -> Result<(), Status> {
        let mut client = self.server.client();
        for len in lens {
            self.ledger.upload(self.home, &mut client, self.next(len)).await?;
        }
        Ok(())
    }

    /// One writer who gives up what it has written.
    async fn given_up<const N: usize>(&self, lens: [usize; N]) -> Result<(), Status> {
        let mut client = self.server.client();
        for len in lens {
            self.ledger.give_up(self.home, &mut client, self.next(len)).await?;
        }
        Ok(())
    }

    /// One writer of content that begins as the one before does, which is larger than a chunk can be.
    async fn changed<const N: usize>(&self, lens: [usize; N]) -> Result<(), Status> {
        let mut client = self.server.client();
        let first = self.next(0);
        for (number, len) in lens.into_iter().enumerate() {
            let sent = self.ledger.write_delta(self.home, &mut client, Content { len, ..first }).await?;
            assert!(number == 0 || sent < len, "all {len} bytes were sent again");
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
