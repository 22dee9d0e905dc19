//! Reading what stands side by side with one request: payloads are taken out of the answer as it comes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{Error, GetOptions, GetRange, ObjectStore};
use tokio::sync::Mutex;

use super::ObjectPacks;
use crate::store::pack::{Location, PackId};
use crate::store::packs::{PackStore, Then};

/// Bytes that one request asks for, at most.
pub const LONGEST: u64 = 8 << 20;

/// Reads a run. Each payload has the tries and the time of a request of its own; and when it fails in spite of these, those
/// behind it are read by themselves, for what is wrong with one says little about the rest.
pub async fn read(packs: Arc<ObjectPacks>, run: Vec<(Location, Then)>) {
    let Some(end) = run.last().map(|(location, _)| location.end()) else { return };
    let mut run = run.into_iter();
    {
        let _permit = packs.reads.acquire().await;
        let incoming = Mutex::new(Incoming::default());
        for (location, then) in run.by_ref() {
            let payload = packs.receive(&incoming, &location, end).await;
            let is_read = payload.is_ok();
            tokio::task::spawn_blocking(move || then(payload));
            if !is_read {
                break;
            }
        }
    }
    for (location, then) in run {
        Arc::clone(&packs).read(location, then);
    }
}

impl ObjectPacks {
    /// The payload that stands there, of a run that ends at the offset `end`.
    async fn receive(&self, incoming: &Mutex<Incoming>, location: &Location, end: u64) -> io::Result<Bytes> {
        let request = || async move { incoming.lock().await.payload(self, location, end).await };
        let payload = match self.tries.run("get", request).await {
            Ok(payload) => payload,
            Err(error) => {
                self.ended(location.pack, location.position, error).await?;
                None
            }
        };
        payload.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Begins to get bytes of a pack.
    async fn ask(&self, id: PackId, from: u64, end: u64) -> object_store::Result<Answer> {
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(from..end)));
        let got = self.client.get_opts(&self.path(id), options).await?;
        let len = got.meta.size;
        Ok(Answer { pieces: got.into_stream(), piece: Bytes::new(), at: from, len })
    }
}

/// A run on its way.
#[derive(Default)]
struct Incoming {
    /// What has come of the payload that is next.
    payload: Vec<u8>,
    /// What is coming; `None` when it has to be asked for.
    answer: Option<Answer>,
}

struct Answer {
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    /// What has come and was not taken yet.
    piece: Bytes,
    /// Its offset in the pack.
    at: u64,
    /// Bytes of the whole pack.
    len: u64,
}

impl Incoming {
    /// The payload that stands there, in memory of its own; `None` when the pack ends before it does. After an error, or when
    /// this was given up, it goes on where it was.
    async fn payload(
        &mut self,
        packs: &ObjectPacks,
        location: &Location,
        end: u64,
    ) -> object_store::Result<Option<Bytes>> {
        let len = usize::try_from(location.stored).unwrap_or(usize::MAX);
        // Put back when all went well only.
        let mut answer = match self.answer.take() {
            Some(answer) => answer,
            None => packs.ask(location.pack, location.position + self.payload.len() as u64, end).await?,
        };
        if answer.len < location.end() {
            return Ok(None);
        }
        self.payload.reserve_exact(len - self.payload.len());
        while self.payload.len() < len {
            let offset = location.position + self.payload.len() as u64;
            let piece = answer.next(offset, len - self.payload.len()).await?;
            self.payload.extend_from_slice(&piece);
        }
        self.answer = Some(answer);
        Ok(Some(std::mem::take(&mut self.payload).into()))
    }
}

impl Answer {
    /// From one to `most` bytes from the offset `from` on. What stands before is left out.
    async fn next(&mut self, from: u64, most: usize) -> object_store::Result<Bytes> {
        loop {
            let between = usize::try_from(from.saturating_sub(self.at)).unwrap_or(usize::MAX);
            self.take(between);
            let bytes = self.take(most);
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            let ended =
                || Error::Generic { store: "S3", source: "the answer is shorter than it says".into() };
            self.piece = self.pieces.next().await.ok_or_else(ended)??;
        }
    }

    fn take(&mut self, most: usize) -> Bytes {
        let bytes = self.piece.split_to(most.min(self.piece.len()));
        self.at += bytes.len() as u64;
        bytes
    }
}
