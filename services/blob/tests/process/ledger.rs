//! What writers were told, held against what is there.

mod uploads;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use blake3::Hash;
use bytes::Bytes;
use futures::StreamExt;
use holdall_blob::store::index::MIGRATIONS;
use holdall_sql::{Database, Durability, Settings, sql};
use tonic::{Code, Status};

use crate::calls;
use crate::content::Content;
use crate::home::{Client, Home, Server};
use crate::ledger::uploads::Upload;

/// Reads at a time.
const READERS: usize = 4;

/// The writes to one [`Home`].
#[derive(Default)]
pub struct Ledger {
    acknowledged: Mutex<Vec<(String, Content)>>,
    begun: Mutex<HashMap<Hash, Content>>,
    /// Those that nobody is writing.
    uploads: Mutex<Vec<Upload>>,
    /// Handles of uploads that were given up.
    given_up: Mutex<Vec<Bytes>>,
}

/// What a check has found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Blobs whose writers have a receipt, all of them whole.
    pub acknowledged: usize,
    /// Blobs whose writers have none, and that are whole.
    pub unacknowledged: usize,
    /// Blobs whose writers have no receipt, and that cannot be read.
    pub unreadable: usize,
    /// Uploads that were broken off, and are no less than their writers were told.
    pub uploads: usize,
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unacknowledged += other.unacknowledged;
        self.unreadable += other.unreadable;
        self.uploads += other.uploads;
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { acknowledged, unacknowledged, unreadable, uploads } = self;
        write!(
            f,
            "read {acknowledged} acknowledged blobs and {unacknowledged} others whole, {unreadable} others not, \
             and found {uploads} unfinished uploads as they were"
        )
    }
}

impl Ledger {
    /// Writes content and takes note of it before and after.
    pub async fn write(&self, home: &Home, client: &mut Client, content: Content) -> Result<String, Status> {
        let bytes = self.begin(content);
        let id = calls::write(&home.keys, client, bytes).await?;
        self.acknowledge(id.clone(), content);
        Ok(id)
    }

    /// The same for many, in one stream.
    pub async fn write_batch(
        &self,
        home: &Home,
        client: &mut Client,
        contents: &[Content],
    ) -> Result<(), Status> {
        let bytes: Vec<_> = contents.iter().map(|content| self.begin(*content)).collect();
        let mut contents = contents.iter();
        let written = |id| self.acknowledge(id, *contents.next().expect("more results than files"));
        calls::batch::write(&home.keys, client, &bytes, written).await
    }

    /// The same with only those chunks that are not there. Returns how many bytes were sent.
    pub async fn write_delta(
        &self,
        home: &Home,
        client: &mut Client,
        content: Content,
    ) -> Result<usize, Status> {
        let bytes = self.begin(content);
        let (id, sent) = calls::delta::write(&home.keys, client, &bytes).await?;
        self.acknowledge(id, content);
        Ok(sent)
    }

    fn begin(&self, content: Content) -> Bytes {
        let bytes = content.bytes();
        self.begun.lock().unwrap().insert(blake3::hash(&bytes), content);
        bytes
    }

    fn acknowledge(&self, id: String, content: Content) {
        self.acknowledged.lock().unwrap().push((id, content));
    }

    pub fn acknowledged(&self) -> Vec<(String, Content)> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Fails unless everything that was acknowledged can be read.
    pub async fn check_acknowledged(&self, home: &Home, server: &Server) -> usize {
        let acknowledged = self.acknowledged();
        let count = acknowledged.len();
        let client = server.client();
        let reads = acknowledged.into_iter().map(|(id, content)| {
            let mut client = client.clone();
            async move {
                let bytes = calls::read(&home.keys, &mut client, &id).await;
                let bytes = bytes.unwrap_or_else(|status| panic!("{content:?} is lost: {status:?}"));
                assert!(bytes == content.bytes(), "{content:?} differs");
            }
        });
        futures::stream::iter(reads).buffer_unordered(READERS).collect::<()>().await;
        count
    }

    /// Fails unless everything that was acknowledged can be read, and everything else that the index knows either cannot be
    /// read or is what somebody began to write.
    pub async fn check(&self, home: &Home, server: &Server) -> Found {
        let mut found =
            Found { acknowledged: self.check_acknowledged(home, server).await, ..Found::default() };
        found.uploads = self.check_uploads(server).await;
        let known: HashSet<String> = self.acknowledged().into_iter().map(|(id, _)| id).collect();
        let mut client = server.client();
        for id in indexed(home).await.difference(&known) {
            match calls::read(&home.keys, &mut client, id).await {
                Ok(bytes) => {
                    let begun = self.begun.lock().unwrap().get(&blake3::hash(&bytes)).copied();
                    assert!(begun.is_some(), "nobody wrote the {} bytes of {id}", bytes.len());
                    found.unacknowledged += 1;
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::DataLoss, "{status:?}");
                    found.unreadable += 1;
                }
            }
        }
        found
    }
}

/// The ids of all blobs in the index, from a copy of it. Nothing may be writing.
async fn indexed(home: &Home) -> HashSet<String> {
    let dir = tempfile::tempdir().unwrap();
    for name in ["index.db", "index.db-wal"] {
        std::fs::copy(home.data().join(name), dir.path().join(name)).unwrap();
    }
    let settings = Settings::file(&dir.path().join("index.db"));
    let index = Database::open(&settings, &MIGRATIONS, Durability::Rebuildable).await.unwrap();
    let rows = sql("SELECT id FROM blobs").fetch_all(&index).await.unwrap();
    index.close().await;
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}
