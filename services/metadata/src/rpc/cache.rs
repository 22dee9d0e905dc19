//! Answers that are given again as long as nothing has changed.
//!
//! An answer is kept with a moment of the space from before it was read, and given again only while that is the present one, and
//! before the time of anything in it is over. So it is never older than the latest change that anybody was told of, whoever made
//! it. What a caller may do is part of what is kept: answers are kept by account, and opened links by their slug, which is all
//! that a caller has.

use std::sync::Arc;

use moka::sync::Cache;
use prost::Message;
use tonic::Status;

use crate::domain::id::{AccountId, BlobId, SpaceId};
use crate::domain::link::{Form, Slug};
use crate::domain::space::Home;
use crate::store::{Moment, Store};

/// What is kept, and until when it may be given.
pub(super) trait Keep {
    /// Bytes that it takes, about.
    fn weight(&self) -> usize;
    /// From then on it is wrong; Unix microseconds.
    fn end(&self) -> i64;
}

/// Kept answers to one kind of request.
pub(super) struct Answers<A>(Cache<Key, (Moment, Arc<A>)>);

/// An answer, and the moment for which it is right; `None` when that is not known.
pub(super) struct Answer<A> {
    pub(super) answer: Arc<A>,
    pub(super) moment: Option<Moment>,
}

type Key = (AccountId, Vec<u8>);

impl<A: Keep + Send + Sync + 'static> Answers<A> {
    /// Keeps answers that take about `bytes` together.
    pub(super) fn new(bytes: u64) -> Self {
        let weigher = move |(_, request): &Key, (_, answer): &(Moment, Arc<A>)| {
            u32::try_from(OVERHEAD + request.len() + answer.weight()).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(bytes).weigher(weigher).build())
    }

    /// The answer to `request` at `now`: a kept one if that is still right, else what `load` gives.
    pub(super) async fn get<R: Message>(
        &self,
        store: &Store,
        home: &Home,
        request: &R,
        now: i64,
        load: impl AsyncFnOnce() -> Result<A, Status>,
    ) -> Result<Answer<A>, Status> {
        let Some(moment) = store.moment(home.space).await? else {
            return Ok(Answer { answer: Arc::new(load().await?), moment: None });
        };
        let key = (home.account, request.encode_to_vec());
        if let Some((at, answer)) = self.0.get(&key)
            && at == moment
            && now < answer.end()
        {
            return Ok(Answer { answer, moment: Some(moment) });
        }
        let answer = Arc::new(load().await?);
        // If the space changed meanwhile, this moment is over, and the answer is never given.
        self.0.insert(key, (moment, Arc::clone(&answer)));
        Ok(Answer { answer, moment: Some(moment) })
    }
}

/// Kept links that were opened.
pub(super) struct Openings(Cache<(Form, String), Kept>);

/// A file that a link opens, before the leave to read it.
pub(super) struct Opening {
    pub(super) space: SpaceId,
    pub(super) blob: BlobId,
    pub(super) name: String,
    pub(super) version: holdall_proto::metadata::v1::Version,
    /// When the link stops working.
    pub(super) expires_at: Option<i64>,
    /// When the link or the file is gone.
    pub(super) end: i64,
    /// Whether its downloads are counted, so that it must be asked for each time.
    pub(super) limited: bool,
}

#[derive(Clone)]
struct Kept {
    /// `None` when the space was not known before the link was looked up: it is only then known whose moment to take.
    at: Option<Moment>,
    opening: Arc<Opening>,
}

impl Openings {
    /// Keeps opened links that take about `bytes` together.
    pub(super) fn new(bytes: u64) -> Self {
        let weigher = |(_, slug): &(Form, String), kept: &Kept| {
            let opening = &kept.opening;
            let weight = OVERHEAD + slug.len() + opening.name.len() + 2 * opening.version.encoded_len();
            u32::try_from(weight).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(bytes).weigher(weigher).build())
    }

    /// What a slug opens at `now`: what is kept if that is still right, else what `load` gives.
    pub(super) async fn get(
        &self,
        store: &Store,
        slug: &Slug,
        form: Form,
        now: i64,
        load: impl AsyncFnOnce() -> Result<Opening, Status>,
    ) -> Result<Arc<Opening>, Status> {
        let key = (form, slug.as_str().to_owned());
        let kept = self.0.get(&key);
        let moment = match &kept {
            Some(kept) => store.moment(kept.opening.space).await?,
            None => None,
        };
        if let Some(kept) = &kept
            && moment.is_some()
            && kept.at == moment
            && now < kept.opening.end
        {
            return Ok(Arc::clone(&kept.opening));
        }
        let opening = Arc::new(load().await?);
        if !opening.limited {
            let at = moment.filter(|_| kept.is_some_and(|kept| kept.opening.space == opening.space));
            self.0.insert(key, Kept { at, opening: Arc::clone(&opening) });
        }
        Ok(opening)
    }
}

/// Bytes that an entry takes beside its key and answer, about.
const OVERHEAD: usize = 256;
