//! What the store promises, checked on every engine.

mod accounts;
mod buffer;
mod concurrency;
mod expiry;
mod feed;
mod folders;
mod freshness;
mod links;
mod lists;
mod model;
mod named;
mod names;
mod opening;
mod policies;
mod roots;
mod trash;
mod uploads;
mod ways;

use holdall_sql::testing::{self, TestDatabase};

use super::{Error, MIGRATIONS, Result, Store, Terms};
use crate::domain;
use crate::domain::buffer::Limits;
use crate::domain::id::{AccountId, BlobId, NodeId, UploadId};
use crate::domain::idempotency::Key;
use crate::domain::link::{Expiry, Form, Link, LinkUpdate, NewLink};
use crate::domain::name::Name;
use crate::domain::node::{Made, NewFolder, Node, NodeRef, NodeUpdate, Order, Sort, Target};
use crate::domain::path::Path;
use crate::domain::policy::Policy;
use crate::domain::precondition::Precondition;
use crate::domain::space::{Home, Owner};
use crate::domain::upload::{Commit, Committed, Stored};
use crate::domain::version::{Digest, MediaType};

/// A moment in 2025, in Unix microseconds.
const NOW: i64 = 1_750_000_000_000_000;
const SECOND: i64 = 1_000_000;
const QUOTA: u64 = 1_000_000;
/// Uploads above this reserve room.
const RESERVE_ABOVE: u64 = 1000;
const TERMS: Terms = Terms {
    default_quota: QUOTA,
    system_quota: 2 * QUOTA,
    upload_lifetime: 3600 * SECOND,
    reserve_above: RESERVE_ABOVE,
    buffer: Limits { time_to_live: 60 * SECOND, longest: 600 * SECOND, keep: 3 },
};

/// Runs each test on both engines.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&$crate::store::conformance::World::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&$crate::store::conformance::World::postgres().await).await;
            })*
        }
    };
}
use on_both;

/// A store with the home of one account.
struct World {
    store: Store,
    home: Home,
    db: TestDatabase,
}

impl World {
    async fn sqlite() -> Self {
        Self::on(testing::sqlite(&MIGRATIONS).await).await
    }

    async fn postgres() -> Self {
        Self::on(testing::postgres(&MIGRATIONS).await).await
    }

    async fn on(db: TestDatabase) -> Self {
        let store = Store::new(db.database().clone(), TERMS);
        let home = store.home(AccountId::new(NOW), Owner::Person, NOW).await.unwrap();
        Self { store, home, db }
    }

    /// The home of another account.
    async fn stranger(&self) -> Home {
        self.store.home(AccountId::new(NOW), Owner::Person, NOW).await.unwrap()
    }

    async fn mkdir(&self, parent: &str, name_: &str) -> Result<Node> {
        let folder = NewFolder { parent: at(parent), names: vec![name(name_)], parents: false, policy: None };
        Ok(self.store.create_folder(&self.home, &folder, None, NOW).await?.node)
    }

    async fn mkdirs(&self, path_: &str) -> Result<Made> {
        let names = path(path_).names().to_vec();
        let folder = NewFolder { parent: at(""), names, parents: true, policy: None };
        self.store.create_folder(&self.home, &folder, None, NOW).await
    }

    /// Commits content to a path.
    async fn put(&self, path_: &str, content: &str) -> Result<Committed> {
        self.put_at(Target::Path(path(path_)), content, NOW).await
    }

    async fn put_at(&self, target: Target, content: &str, now: i64) -> Result<Committed> {
        self.store.commit_upload(&self.home, &commit(target, content), now).await
    }

    async fn get(&self, path: &str) -> Result<Node> {
        self.store.node(&self.home, &at(path), NOW).await
    }

    async fn by_id(&self, id: NodeId) -> Result<Node> {
        self.store.node(&self.home, &NodeRef::Id(id), NOW).await
    }

    async fn trash(&self, path: &str) -> Result<Node> {
        self.store.trash_node(&self.home, &at(path), &Precondition::None, NOW).await
    }

    async fn rename(&self, node: NodeId, to: &str) -> Result<Node> {
        self.store.update_node(&self.home, node, &renamed(to), &Precondition::None, NOW).await
    }

    async fn move_to(&self, node: NodeId, parent: NodeId) -> Result<Node> {
        self.store.update_node(&self.home, node, &moved(parent), &Precondition::None, NOW).await
    }

    /// Sets the policy of a folder.
    async fn policy(&self, path: &str, policy: Policy) -> Node {
        let none = &Precondition::None;
        self.store.set_folder_policy(&self.home, &at(path), policy, none, NOW).await.unwrap()
    }

    /// A link to a file, short and for ever.
    async fn link(&self, file: NodeId) -> Link {
        self.store.create_link(&self.home, file, &NewLink::default(), false, None, NOW).await.unwrap()
    }

    /// Opens a short link without downloading.
    async fn open(&self, link: &Link, now: i64) -> Result<Node> {
        self.store.open_link(&link.slug, Form::Short, false, now).await.map(|(_, node)| node)
    }

    /// How many blobs were released.
    async fn released(&self) -> i64 {
        let row = holdall_sql::sql("SELECT COUNT(*) FROM released_blobs").fetch_one(self.db.database()).await;
        row.unwrap().get(0).unwrap()
    }

    /// Names in a folder, in order.
    async fn ls(&self, path: &str) -> Vec<String> {
        self.ls_at(path, NOW).await
    }

    async fn ls_at(&self, path: &str, now: i64) -> Vec<String> {
        let folder = self.store.folder(&self.home, &at(path), now).await.unwrap();
        let page =
            self.store.children(&self.home, folder.id, sorted(Order::Name), None, 1000, now).await.unwrap();
        page.items.into_iter().map(|node| node.name).collect()
    }

    /// Used and reserved bytes.
    async fn usage(&self) -> (u64, u64) {
        let space = self.store.space(&self.home).await.unwrap();
        (space.used, space.reserved)
    }

    /// Checks in the database itself what must hold whatever was done.
    async fn check_invariants(&self) {
        use holdall_sql::sql;
        let db = self.db.database();
        let number = async |text: &'static str| -> i64 {
            sql(text).bind(self.home.space.to_string()).fetch_one(db).await.unwrap().get(0).unwrap()
        };
        let (used, reserved) = self.usage().await;
        let stored = number(
            "SELECT CAST(COALESCE(SUM(v.size), 0) AS BIGINT) FROM versions v JOIN nodes n ON n.node_id = v.node_id
             WHERE n.space_id = $1",
        )
        .await;
        let buffered =
            number("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM buffer_entries WHERE space_id = $1")
                .await;
        assert_eq!(
            i64::try_from(used).unwrap(),
            stored + buffered,
            "used is the sum of the versions and the buffer"
        );
        let held =
            number("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM uploads WHERE space_id = $1").await;
        assert_eq!(i64::try_from(reserved).unwrap(), held, "reserved is the sum of the uploads");
        let reachable = number(
            "WITH RECURSIVE down (node_id) AS (
                SELECT root_id FROM spaces WHERE space_id = $1
                UNION ALL
                SELECT n.node_id FROM down JOIN nodes n ON n.parent_id = down.node_id)
             SELECT COUNT(*) FROM down",
        )
        .await;
        assert_eq!(reachable, number("SELECT COUNT(*) FROM nodes WHERE space_id = $1").await, "one tree");
        assert_eq!(
            number(
                "SELECT COUNT(*) FROM nodes n JOIN nodes p ON p.node_id = n.parent_id
                 WHERE n.space_id = $1 AND p.kind <> 1"
            )
            .await,
            0,
            "only folders have children"
        );
        assert_eq!(
            number(
                "SELECT COUNT(*) FROM nodes n WHERE n.space_id = $1 AND n.kind = 2 AND NOT EXISTS
                    (SELECT 1 FROM versions v WHERE v.version_id = n.version_id AND v.node_id = n.node_id)"
            )
            .await,
            0,
            "every file has its current version"
        );
        let sequence = i64::try_from(self.store.space(&self.home).await.unwrap().change_sequence).unwrap();
        assert_eq!(
            number("SELECT COUNT(*) FROM changes WHERE space_id = $1").await,
            sequence,
            "no gap in the log"
        );
    }
}

fn at(path_: &str) -> NodeRef {
    NodeRef::Path(path(path_))
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap().unwrap()
}

fn stored(content: &str) -> Stored {
    Stored {
        upload: UploadId::new(NOW),
        blob: BlobId::new(NOW),
        size: content.len() as u64,
        digest: Digest(*blake3::hash(content.as_bytes()).as_bytes()),
    }
}

fn commit(target: Target, content: &str) -> Commit {
    Commit {
        stored: stored(content),
        target,
        media_type: MediaType::parse("text/plain").unwrap(),
        device: "laptop".to_owned(),
        precondition: Precondition::None,
        keep_both: false,
        link: None,
        key: None,
    }
}

fn sorted(by: Order) -> Sort {
    Sort { by, descending: false }
}

fn renamed(to: &str) -> NodeUpdate {
    NodeUpdate { name: Some(name(to)), ..NodeUpdate::default() }
}

fn moved(to: NodeId) -> NodeUpdate {
    NodeUpdate { parent: Some(to), ..NodeUpdate::default() }
}

/// A short link that ends at a time.
fn until(at: i64) -> NewLink {
    NewLink { expiry: Expiry::At(at), ..NewLink::default() }
}

fn ends(expiry: Expiry) -> LinkUpdate {
    LinkUpdate { expiry: Some(expiry), ..LinkUpdate::default() }
}

/// The refusal that an operation met.
fn refusal<T: std::fmt::Debug>(result: Result<T>) -> domain::error::Error {
    match result {
        Err(Error::Refused(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}
