//! Answers that are given again as long as nothing has changed.
//!
//! An answer is kept with the moment of the space at which it was read, and given again only at that same moment. So it is
//! never older than the latest change that anybody was told of. What a caller may do is part of what is kept: answers are
//! kept by account.

use std::sync::Arc;

use moka::sync::Cache;
use prost::Message;
use tonic::Status;

use crate::domain::space::Home;
use crate::store::{Moment, Store};

/// Kept answers to one kind of request.
pub(super) struct Answers<A>(Cache<Key, (Moment, Arc<A>)>);

type Key = (crate::domain::id::AccountId, Vec<u8>);

impl<A: Send + Sync + 'static> Answers<A> {
    /// Keeps answers that take about `bytes` together; `weigh` tells what one takes.
    pub(super) fn new(bytes: u64, weigh: fn(&A) -> usize) -> Self {
        let weigher = move |(_, request): &Key, (_, answer): &(Moment, Arc<A>)| {
            u32::try_from(OVERHEAD + request.len() + weigh(answer)).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(bytes).weigher(weigher).build())
    }

    /// The answer to `request`: a kept one if that is still right, else what `load` gives.
    pub(super) async fn get<R: Message>(
        &self,
        store: &Store,
        home: &Home,
        request: &R,
        load: impl AsyncFnOnce() -> Result<A, Status>,
    ) -> Result<Arc<A>, Status> {
        let Some(before) = store.moment(home) else { return load().await.map(Arc::new) };
        let key = (home.account, request.encode_to_vec());
        if let Some((at, answer)) = self.0.get(&key)
            && at == before
        {
            return Ok(answer);
        }
        let answer = Arc::new(load().await?);
        if store.moment(home) == Some(before) {
            self.0.insert(key, (before, Arc::clone(&answer)));
        }
        Ok(answer)
    }
}

/// Bytes that an entry takes beside its key and answer, about.
const OVERHEAD: usize = 256;
