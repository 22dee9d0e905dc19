//! Folders that a way of using Holdall keeps to itself, such as the one that uploads of a kind go to.

use std::time::Duration;

use holdall_proto::metadata::v1::{CreateFolderRequest, FolderPolicy};
use moka::sync::Cache;

use super::{Caller, nodes};
use crate::error::{Code, Result};
use crate::upstreams::Upstreams;

/// Folders that are remembered; about 200 bytes each.
const REMEMBERED: u64 = 50_000;
/// For how long one is taken to be still there, with its policy.
const FOR: Duration = Duration::from_secs(60);

/// Remembers folders that are there, so that not every upload has to ask. What it says may be out of date: whoever finds
/// a folder gone forgets it and asks again.
pub struct Folders(Cache<(String, &'static str), String>);

impl Default for Folders {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).time_to_live(FOR).build())
    }
}

impl Folders {
    /// The id of the folder `name` in the root of the caller's space, made with this policy when it is not there yet.
    /// The empty name is the root itself.
    pub async fn ensure(
        &self,
        upstreams: &Upstreams,
        caller: &Caller,
        name: &'static str,
        policy: Option<FolderPolicy>,
    ) -> Result<String> {
        let key = (caller.account().account_id.clone(), name);
        if let Some(id) = self.0.get(&key) {
            return Ok(id);
        }
        let node = if name.is_empty() {
            nodes::set_policy(upstreams, caller, nodes::ROOT, policy).await?
        } else {
            let request = CreateFolderRequest {
                name: name.to_owned(),
                parents: true,
                policy,
                ..CreateFolderRequest::default()
            };
            nodes::create_folder(upstreams, caller, request).await?.0
        };
        self.0.insert(key, node.node_id.clone());
        Ok(node.node_id)
    }

    /// Runs `work` with the id of the folder, once more when the folder turns out to be gone. `work` must not have used
    /// anything up when it fails with [`Code::NotFound`].
    pub async fn with<T, F>(
        &self,
        upstreams: &Upstreams,
        caller: &Caller,
        name: &'static str,
        policy: Option<FolderPolicy>,
        work: impl Fn(String) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let id = self.ensure(upstreams, caller, name, policy).await?;
        match work(id).await {
            Err(error) if error.code == Code::NotFound => {
                self.0.invalidate(&(caller.account().account_id.clone(), name));
                work(self.ensure(upstreams, caller, name, policy).await?).await
            }
            done => done,
        }
    }
}
