//! Packs as objects of S3 (AWS, Garage, Ceph and their like): `<prefix>/packs/<id>.pack`, the id in 16 hexadecimal digits.
//!
//! What comes together is one object, which is never changed. Several [stores](ObjectPacks) may share a bucket: an
//! id is taken by whoever first makes an object of that name, and its first digits are the time, so that a start has
//! only to look at what is about as new as the newest pack that the index knows, or newer.
//!
//! Every request has a time limit, every operation another one and three tries. What is under way at once is
//! limited for reading and for writing apart. Payloads that stand near each other are read with one request (`run`).

mod ids;
mod lane;
mod put;
mod run;
mod source;
mod tries;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use holdall_runtime::presence::Presence;
use holdall_runtime::tls;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::ClientOptions;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use self::ids::Ids;
use self::source::Source;
use self::tries::Tries;
use super::{Listed, Pack, PackStore, Reading, Then};
use crate::store::lane::{Batch, Context, Ended, Entry};
use crate::store::pack::{self, Location, PackId};

const SUFFIX: &str = ".pack";
/// Runs of a large blob that are under way at once, apart from the one that is handed out.
const READ_AHEAD: usize = 4;
/// Packs that are read from one end to the other at once, at most. Each takes about as much memory as three of the windows that
/// it is fetched in.
const SCANS: usize = 8;
/// Why there is no permit, though semaphores are never closed.
const CLOSED: &str = "closed";

/// What a bucket showed of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Whether an object is kept when another is put under its name on condition that there is none.
    pub keeps_the_first: bool,
    /// How many seconds its server's clock is ahead of ours, at least; negative when it is behind.
    pub clock_is_ahead: i64,
}

/// How packs are kept in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// URL of the server, without the bucket; that of AWS in the region when absent.
    pub endpoint: Option<String>,
    /// Name of the region.
    pub region: String,
    /// Name of the bucket, which has to exist.
    pub bucket: String,
    /// What the names of objects start with, without a slash at the end; may be empty.
    pub prefix: String,
    /// Who asks.
    pub access_key: Secret,
    /// What requests are signed with.
    pub secret_key: Secret,
    /// Whether the connection may be without TLS.
    pub allow_http: bool,
    /// How long one request may take. An operation may take twice as long, all tries together.
    pub request_timeout: Duration,
    /// Requests for reading under way at once.
    pub max_reads: usize,
    /// Batches that are being written at once; half of them are for small blobs.
    pub max_writes: usize,
    /// A batch of content that nobody waits for is written once it has so many bytes.
    pub batch: u64,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The packs in a bucket.
#[derive(Debug)]
pub struct ObjectPacks {
    client: AmazonS3,
    folder: Path,
    tries: Tries,
    ids: Ids,
    reads: Arc<Semaphore>,
    scans: usize,
    max_writes: usize,
    batch: u64,
}

impl ObjectPacks {
    /// Sets up the connection; does not use it yet.
    pub fn new(settings: &Settings) -> io::Result<Self> {
        tls::install_provider();
        // Retries are ours: they know which of them are safe.
        let retries = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let options = ClientOptions::new()
            .with_allow_http(settings.allow_http)
            .with_timeout(settings.request_timeout)
            .with_connect_timeout(settings.request_timeout.min(Duration::from_secs(5)));
        let mut builder = AmazonS3Builder::new()
            .with_client_options(options)
            .with_retry(retries)
            .with_region(&settings.region)
            .with_bucket_name(&settings.bucket)
            .with_access_key_id(&settings.access_key.0)
            .with_secret_access_key(&settings.secret_key.0)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Not every server has it, and packs are deleted one by one.
            .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let folder = [settings.prefix.as_str(), "packs"].into_iter().filter(|part| !part.is_empty());
        let folder = Path::parse(folder.collect::<Vec<_>>().join("/")).map_err(io::Error::other)?;
        let client = builder.build()?;
        let (asking, alive) = (client.clone(), folder.clone().join("alive"));
        let presence = Presence::new("the object store", move || {
            let (client, alive) = (asking.clone(), alive.clone());
            // There is no such object; whoever says so is there.
            async move { !matches!(client.head(&alive).await, Err(object_store::Error::Generic { .. })) }
        });
        Ok(Self {
            client,
            folder,
            tries: Tries::new(settings.request_timeout, presence),
            ids: Ids::default(),
            reads: Arc::new(Semaphore::new(settings.max_reads)),
            scans: SCANS.min(settings.max_reads),
            max_writes: settings.max_writes,
            batch: settings.batch,
        })
    }

    fn path(&self, id: PackId) -> Path {
        self.folder.clone().join(format!("{id}{SUFFIX}"))
    }

    /// Bytes of a pack, and the length of the pack. There are fewer than asked for when the pack ends before, and none when it
    /// ends before they start.
    async fn get(&self, id: PackId, range: Range<u64>) -> io::Result<(Bytes, u64)> {
        let _permit = self.reads.acquire().await.map_err(|_| io::Error::other(CLOSED))?;
        let (client, path) = (&self.client, &self.path(id));
        let request = || {
            let options = GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())));
            async move {
                let got = client.get_opts(path, options).await?;
                let len = got.meta.size;
                Ok((got.bytes().await?, len))
            }
        };
        let got = self.tries.run("get", request).await;
        match got {
            Ok((bytes, len)) => {
                let expected = range.end.min(len).saturating_sub(range.start);
                if bytes.len() as u64 == expected {
                    Ok((bytes, len))
                } else {
                    Err(io::Error::other("the answer has another length than it says"))
                }
            }
            Err(error) => Ok((Bytes::new(), self.ended(id, range.start, error).await?)),
        }
    }

    /// The length of a pack that cannot be read from the offset `start` on because it ends before; `error` when that is not why.
    /// For an answer tells it like any other failure, so the length is asked for.
    async fn ended(&self, id: PackId, start: u64, error: io::Error) -> io::Result<u64> {
        if error.kind() != io::ErrorKind::Other {
            return Err(error);
        }
        let len = self.len(id).await.ok().filter(|len| *len <= start);
        len.ok_or(error)
    }

    /// Tries whether objects can be listed, made and deleted. `now` tells our time, in Unix seconds.
    pub async fn try_out(&self, now: impl Fn() -> i64) -> io::Result<Tried> {
        let limit = |error: object_store::Error| io::Error::other(error);
        let mut objects = self.client.list(Some(&self.folder));
        let first = self.tries.within(objects.next()).await.map_err(limit)?;
        first.transpose().map_err(limit)?;
        let name = Path::from(format!("{}-{}", self.folder, uuid::Uuid::now_v7().simple()));
        let put = async || {
            let options = PutOptions::from(PutMode::Create);
            self.tries.within(self.client.put_opts(&name, PutPayload::from_static(b"doctor"), options)).await
        };
        let began = now();
        put().await.map_err(limit)?.map_err(limit)?;
        let ended = now();
        let made = self.tries.within(self.client.head(&name)).await;
        let again = put().await;
        let deleted = self.tries.within(self.client.delete(&name)).await;
        deleted.map_err(limit)?.map_err(limit)?;
        let made = made.map_err(limit)?.map_err(limit)?.last_modified.timestamp();
        // Somewhere in between, and in whole seconds, rounded down.
        let clock_is_ahead = made - made.min(ended).max(began - 1);
        let keeps_the_first = match again.map_err(limit)? {
            Ok(_) => false,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => true,
            Err(error) => return Err(limit(error)),
        };
        Ok(Tried { keeps_the_first, clock_is_ahead })
    }

    /// Exactly these bytes of a pack.
    async fn get_exact(&self, id: PackId, range: Range<u64>) -> io::Result<Bytes> {
        let (bytes, _) = self.get(id, range.clone()).await?;
        if bytes.len() as u64 == range.end - range.start {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Bytes of a pack.
    async fn len(&self, id: PackId) -> io::Result<u64> {
        let (client, path) = (&self.client, &self.path(id));
        self.tries.run("head", || async move { Ok(client.head(path).await?.size) }).await
    }

    /// The objects behind `offset`, until something goes wrong.
    async fn list_from(&self, offset: &mut Path, found: &mut Vec<Listed>) -> object_store::Result<()> {
        let mut objects = self.client.list_with_offset(Some(&self.folder), offset);
        while let Some(object) = self.tries.within(objects.next()).await?.transpose()? {
            let id = object.location.filename().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(id) = id.and_then(PackId::parse)
                && self.path(id) == object.location
            {
                found.push(Listed { id, len: Some(object.size) });
            }
            *offset = object.location;
        }
        Ok(())
    }
}

#[async_trait]
impl PackStore for ObjectPacks {
    async fn list(self: Arc<Self>, from: PackId) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        // Ids start with 1.
        let mut offset = self.path(PackId((from.0 - 1).max(0)));
        let mut failures = 0;
        loop {
            let reached = offset.clone();
            let Err(error) = self.list_from(&mut offset, &mut found).await else { break };
            // It goes on where it was: each part of a long list has its tries.
            failures = if offset == reached { failures + 1 } else { 1 };
            self.tries.pause("list", failures, error).await?;
        }
        found.sort_unstable_by_key(|listed| listed.id);
        Ok(found)
    }

    fn recheck_from(&self, newest: PackId) -> PackId {
        ids::recheck_from(newest)
    }

    async fn open(self: Arc<Self>, id: PackId) -> io::Result<Pack> {
        let (start, len) = self.get(id, 0..source::WINDOW).await?;
        let mut bytes = Source::new(Arc::clone(&self), id, len, start);
        let salt = pack::salt(&mut bytes, id)?;
        Ok(Pack { salt, len, bytes: Box::new(bytes) })
    }

    fn scans(&self) -> usize {
        self.scans
    }

    fn read(self: Arc<Self>, location: Location, then: Then) {
        tokio::spawn(run::read(self, vec![(location, then)]));
    }

    fn read_run(self: Arc<Self>, run: Vec<(Location, Then)>) -> Reading {
        Reading::new(AbortOnDropHandle::new(tokio::spawn(run::read(self, run))))
    }

    fn longest_run(&self) -> u64 {
        run::LONGEST
    }

    fn read_now(&self, _location: &Location) -> Option<Bytes> {
        None
    }

    fn read_ahead(&self) -> usize {
        READ_AHEAD
    }

    async fn delete(self: Arc<Self>, id: PackId) -> io::Result<()> {
        let (client, path) = (&self.client, &self.path(id));
        match self.tries.run("delete", || client.delete(path)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn is_whole_at_once(&self) -> bool {
        true
    }

    /// A bucket has no end.
    fn is_full(&self) -> bool {
        false
    }

    fn start_lane(
        self: Arc<Self>,
        _name: &str,
        context: Context,
        entries: mpsc::Receiver<Entry>,
        commits: mpsc::Sender<Batch>,
    ) -> io::Result<Ended> {
        let (ended, has_ended) = oneshot::channel();
        tokio::spawn(async move {
            lane::run(self, context, entries, commits).await;
            let _ = ended.send(());
        });
        Ok(Ended::new(has_ended))
    }
}
