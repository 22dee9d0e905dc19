//! Making a pack: all of it or nothing, under a name that nobody else has.

use std::io;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::ObjectPacks;
use crate::domain::record::Salt;
use crate::store::pack::{self, HEADER_LEN, PackId};

/// Longer packs go in parts…
const WHOLE: u64 = 16 << 20;
/// …of so many bytes…
const PART: usize = 8 << 20;
/// …so many of them at once.
const PARTS: usize = 3;

/// Ids that are tried: it takes bad luck to need a second.
const IDS: usize = 3;

impl ObjectPacks {
    /// Makes a pack of these records, which with a header are `len` bytes. When this returns, it is durable. It has the id `id`,
    /// or another one when that is another pack's; the id that it has is returned.
    ///
    /// After an error the pack may be there, or come to be; nobody may be told that it is.
    pub async fn put(&self, mut id: PackId, salt: &Salt, records: &[Bytes], len: u64) -> io::Result<PackId> {
        let mut ids = 1;
        loop {
            match self.put_as(id, salt, records, len).await {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && ids < IDS => {
                    tracing::warn!(pack = %id, "the id of a new pack was taken");
                    id = self.ids.next()?;
                    ids += 1;
                }
                result => return result.map(|()| id),
            }
        }
    }

    /// As [`ObjectPacks::put`], with that id; `AlreadyExists` when it is another pack's.
    async fn put_as(&self, id: PackId, salt: &Salt, records: &[Bytes], len: u64) -> io::Result<()> {
        let header = Bytes::copy_from_slice(&pack::header(id, salt));
        let path = self.path(id);
        if len <= WHOLE {
            let payload: PutPayload = std::iter::once(&header).chain(records).cloned().collect();
            self.create(&path, &header, payload).await
        } else {
            // Completing an upload in parts would replace what is there; so the name is taken first.
            self.create(&path, &header, PutPayload::from_bytes(header.clone())).await?;
            self.put_parts(&path, parts(&header, records), len).await
        }
    }

    /// Makes an object that is not there yet, and starts with `header`, which no other object does.
    async fn create(&self, path: &Path, header: &Bytes, payload: PutPayload) -> io::Result<()> {
        let len = payload.content_length() as u64;
        let put = || {
            let payload = payload.clone();
            async move {
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                match self.client.put_opts(path, payload, options).await {
                    Ok(_) => Ok(true),
                    Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
                    Err(error) => Err(error),
                }
            }
        };
        if self.tries.run("put", put).await? {
            return Ok(());
        }
        // An earlier try may have done it without our hearing of it. The question has tries of its own: servers that refuse a
        // body unread close the connection, on which the question may have been sent already.
        if self.tries.run("check", || self.is(path, header, len)).await? {
            return Ok(());
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Whether the object is `len` bytes long and starts with `header`.
    async fn is(&self, path: &Path, header: &Bytes, len: u64) -> object_store::Result<bool> {
        match self.client.head(path).await {
            Ok(meta) if meta.size == len => Ok(self.client.get_range(path, 0..HEADER_LEN).await? == *header),
            Ok(_) => Ok(false),
            // It was refused because of an attempt that has not ended: to be asked again.
            Err(error @ object_store::Error::NotFound { .. }) => {
                Err(object_store::Error::Generic { store: "S3", source: Box::new(error) })
            }
            Err(error) => Err(error),
        }
    }

    async fn put_parts(&self, path: &Path, parts: Vec<PutPayload>, len: u64) -> io::Result<()> {
        // An upload that is begun twice is given up once: the server, or its rules for the bucket, clear it away.
        let upload = &self.tries.run("begin", || self.client.create_multipart(path)).await?;
        let send = |(at, part): (usize, PutPayload)| async move {
            self.tries.run("part", || self.client.put_part(path, upload, at, part.clone())).await
        };
        let parts = stream::iter(parts.into_iter().enumerate());
        let sent = parts.map(send).buffered(PARTS).try_collect::<Vec<PartId>>().await;
        let done = match sent {
            Ok(parts) => self.complete(path, upload, &parts, len).await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            let aborted = self.tries.within(self.client.abort_multipart(path, upload)).await;
            if let Err(error) = aborted.and_then(|result| result) {
                tracing::warn!(%path, %error, "an upload in parts is left behind");
            }
        }
        done
    }

    /// Makes an object of the parts. An answer can be lost, and one that says 200 can tell of a failure: what counts is that
    /// the object has its length.
    async fn complete(&self, path: &Path, upload: &String, parts: &[PartId], len: u64) -> io::Result<()> {
        let request = || async move {
            let completed = self.client.complete_multipart(path, upload, parts.to_vec()).await;
            let is_there = self.client.head(path).await.is_ok_and(|meta| meta.size == len);
            match completed {
                _ if is_there => Ok(()),
                Ok(_) | Err(object_store::Error::NotFound { .. }) => Err(object_store::Error::Generic {
                    store: "S3",
                    source: "completing an upload did not make the object".into(),
                }),
                Err(error) => Err(error),
            }
        };
        self.tries.run("complete", request).await
    }
}

/// Header and records in parts, without copying more than what is small.
fn parts(header: &Bytes, records: &[Bytes]) -> Vec<PutPayload> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut room = PART;
    for bytes in std::iter::once(header).chain(records) {
        let mut bytes = bytes.clone();
        while !bytes.is_empty() {
            let piece = bytes.split_to(room.min(bytes.len()));
            room -= piece.len();
            part.push(piece);
            if room == 0 {
                parts.push(part.drain(..).collect());
                room = PART;
            }
        }
    }
    if !part.is_empty() {
        parts.push(part.into_iter().collect());
    }
    parts
}
