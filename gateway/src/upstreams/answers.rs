//! Answers of metadata that are kept, where metadata runs elsewhere.
//!
//! A kept answer is given again only after metadata has said, since the request came in, that it is current. So nothing is
//! decided here, and nobody is told what was so a moment ago; but instead of each answer being made, sent and read again, one
//! short question is asked for all requests that come at a time.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use holdall_proto::metadata::v1::content_service_client::ContentServiceClient;
use holdall_proto::metadata::v1::freshness_service_client::FreshnessServiceClient;
use holdall_proto::metadata::v1::node_service_client::NodeServiceClient;
use holdall_proto::metadata::v1::{
    CheckCurrentRequest, ListChildrenRequest, ListChildrenResponse, OpenContentRequest, OpenContentResponse,
    Reuse,
};
use holdall_proto::span_us;
use holdall_runtime::clock::Clock;
use holdall_runtime::together::Together;
use holdall_runtime::upstream::Upstream;
use moka::sync::Cache;
use prost::Message;
use tonic::{Request, Status};

use super::MAX_MESSAGE;

/// Most answers that one question is about; metadata takes 1,000.
const BATCH: usize = 256;
/// Bytes that an entry takes beside its key and answer, about.
const OVERHEAD: usize = 512;

/// Answers that are kept. Clones keep the same.
#[derive(Clone)]
pub struct Answers {
    metadata: Upstream,
    clock: Clock,
    /// Whether validators are current.
    current: Together<Bytes, Result<bool, Status>>,
    children: Cache<Key, Kept<ListChildrenResponse>>,
    contents: Cache<Key, Kept<OpenContentResponse>>,
}

/// Account and request.
type Key = (String, Vec<u8>);

struct Kept<A> {
    answer: Arc<A>,
    validator: Bytes,
    asked_at: i64,
    /// Microseconds from then on.
    lasts: i64,
}

impl<A> Clone for Kept<A> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), validator: self.validator.clone(), ..*self }
    }
}

impl Answers {
    /// Keeps answers of `metadata` that take about `memory` bytes together.
    pub fn new(metadata: Upstream, clock: Clock, memory: u64) -> Self {
        let asked = metadata.clone();
        Self {
            metadata,
            clock,
            current: Together::new(BATCH, move |validators| check(asked.clone(), validators).boxed()),
            children: cache(memory / 4 * 3),
            contents: cache(memory / 4),
        }
    }

    /// A page of a folder, for an account in whose name the request is made.
    pub async fn children(
        &self,
        account: &str,
        request: Request<ListChildrenRequest>,
    ) -> Result<Arc<ListChildrenResponse>, Status> {
        let ask = async |request| {
            let client = NodeServiceClient::new(self.metadata.clone());
            let answer = client.max_decoding_message_size(MAX_MESSAGE).list_children(request).await?;
            let mut answer = answer.into_inner();
            Ok((answer.reuse.take(), answer))
        };
        self.recall(&self.children, account, request, ask).await
    }

    /// Content to read, for an account in whose name the request is made.
    pub async fn content(
        &self,
        account: &str,
        request: Request<OpenContentRequest>,
    ) -> Result<Arc<OpenContentResponse>, Status> {
        let ask = async |request| {
            let mut client = ContentServiceClient::new(self.metadata.clone());
            let mut answer = client.open_content(request).await?.into_inner();
            Ok((answer.reuse.take(), answer))
        };
        self.recall(&self.contents, account, request, ask).await
    }

    async fn is_current(&self, validator: Bytes) -> Result<bool, Status> {
        let answer = self.current.ask(validator).await;
        answer.unwrap_or_else(|| Err(Status::unavailable("what is current is not known")))
    }

    /// What is kept, if that is current, or else what `ask` gives.
    async fn recall<R: Message, A: Message + 'static>(
        &self,
        cache: &Cache<Key, Kept<A>>,
        account: &str,
        request: Request<R>,
        ask: impl AsyncFnOnce(Request<R>) -> Result<(Option<Reuse>, A), Status>,
    ) -> Result<Arc<A>, Status> {
        let key = (account.to_owned(), request.get_ref().encode_to_vec());
        let asked_at = self.clock.now();
        if let Some(kept) = cache.get(&key)
            && (0..kept.lasts).contains(&(asked_at - kept.asked_at))
            && self.is_current(kept.validator).await?
        {
            return Ok(kept.answer);
        }
        let (reuse, answer) = ask(request).await?;
        let answer = Arc::new(answer);
        if let Some(Reuse { validator, lasts }) = reuse {
            let lasts = span_us(lasts.as_ref());
            cache.insert(key, Kept { answer: Arc::clone(&answer), validator, asked_at, lasts });
        }
        Ok(answer)
    }
}

fn cache<A: Message + 'static>(memory: u64) -> Cache<Key, Kept<A>> {
    let weigher = |(account, request): &Key, kept: &Kept<A>| {
        // In memory a message takes about twice what it takes on the wire.
        let weight = OVERHEAD + account.len() + request.len() + 2 * kept.answer.encoded_len();
        u32::try_from(weight).unwrap_or(u32::MAX)
    };
    Cache::builder().max_capacity(memory).weigher(weigher).build()
}

/// Which of some validators are current, or why that cannot be said.
async fn check(metadata: Upstream, validators: Vec<Bytes>) -> Vec<Result<bool, Status>> {
    let count = validators.len();
    let request = CheckCurrentRequest { validators };
    match FreshnessServiceClient::new(metadata).check_current(request).await {
        Ok(answer) => {
            let mut current = answer.into_inner().current;
            current.resize(count, false);
            current.into_iter().map(Ok).collect()
        }
        Err(status) => vec![Err(status); count],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::time::Duration;

    use holdall_proto::metadata::v1::content_service_server::{ContentService, ContentServiceServer};
    use holdall_proto::metadata::v1::freshness_service_server::{FreshnessService, FreshnessServiceServer};
    use holdall_proto::metadata::v1::*;
    use holdall_proto::span;
    use holdall_runtime::testing::ManualClock;
    use holdall_runtime::upstream::in_process;
    use tonic::Response;
    use tonic::service::Routes;

    use super::*;

    /// Metadata, as far as it is asked.
    #[derive(Clone, Default)]
    struct Metadata(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        opened: u64,
        checked: u64,
        current: HashSet<Vec<u8>>,
        is_down: bool,
    }

    #[tonic::async_trait]
    impl ContentService for Metadata {
        async fn open_content(
            &self,
            request: Request<OpenContentRequest>,
        ) -> Result<Response<OpenContentResponse>, Status> {
            let mut state = self.0.lock().unwrap();
            if state.is_down {
                return Err(Status::unavailable("down"));
            }
            state.opened += 1;
            let validator = state.opened.to_be_bytes().to_vec();
            state.current.insert(validator.clone());
            let reuse = Reuse { validator: validator.into(), lasts: span(1_000_000) };
            Ok(Response::new(OpenContentResponse {
                read_grant: state.opened.to_string().into(),
                reuse: Some(reuse).filter(|_| request.get_ref().version_id != "changing"),
                ..OpenContentResponse::default()
            }))
        }

        async fn begin_upload(
            &self,
            _: Request<BeginUploadRequest>,
        ) -> Result<Response<BeginUploadResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn commit_upload(
            &self,
            _: Request<CommitUploadRequest>,
        ) -> Result<Response<CommitUploadResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn abort_upload(
            &self,
            _: Request<AbortUploadRequest>,
        ) -> Result<Response<AbortUploadResponse>, Status> {
            Err(Status::unimplemented(""))
        }
    }

    #[tonic::async_trait]
    impl FreshnessService for Metadata {
        async fn check_current(
            &self,
            request: Request<CheckCurrentRequest>,
        ) -> Result<Response<CheckCurrentResponse>, Status> {
            let mut state = self.0.lock().unwrap();
            if state.is_down {
                return Err(Status::unavailable("down"));
            }
            state.checked += 1;
            let validators = request.into_inner().validators;
            let current = validators.iter().map(|validator| state.current.contains(&validator[..])).collect();
            Ok(Response::new(CheckCurrentResponse { current }))
        }
    }

    struct World {
        metadata: Metadata,
        clock: ManualClock,
        answers: Answers,
    }

    impl World {
        fn new(memory: u64) -> Self {
            let (metadata, clock) = (Metadata::default(), ManualClock::at(0));
            let routes = Routes::new(ContentServiceServer::new(metadata.clone()))
                .add_service(FreshnessServiceServer::new(metadata.clone()));
            let answers = Answers::new(in_process(routes, None), clock.clock(), memory);
            Self { metadata, clock, answers }
        }

        /// Which of metadata's answers it is.
        async fn open(&self, account: &str, version: &str) -> Result<String, Status> {
            let request = OpenContentRequest { version_id: version.to_owned(), ..Default::default() };
            let answer = self.answers.content(account, Request::new(request)).await?;
            Ok(String::from_utf8(answer.read_grant.to_vec()).unwrap())
        }

        fn state(&self) -> std::sync::MutexGuard<'_, State> {
            self.metadata.0.lock().unwrap()
        }
    }

    #[tokio::test]
    async fn what_is_current_is_given_again_and_only_to_whom_it_was_given() {
        let world = World::new(1 << 20);
        assert_eq!(world.open("a", "").await.unwrap(), "1");
        assert_eq!(world.state().checked, 0);
        assert_eq!(world.open("a", "").await.unwrap(), "1");
        assert_eq!(world.open("b", "").await.unwrap(), "2");
        assert_eq!(world.open("a", "x").await.unwrap(), "3");
        assert_eq!(world.open("a", "").await.unwrap(), "1");
        assert_eq!(world.state().checked, 2);
        world.state().current.clear();
        assert_eq!(world.open("a", "").await.unwrap(), "4");
        assert_eq!(world.open("a", "").await.unwrap(), "4");
    }

    #[tokio::test]
    async fn what_ends_by_itself_is_asked_for_anew() {
        let world = World::new(1 << 20);
        assert_eq!(world.open("a", "").await.unwrap(), "1");
        world.clock.advance(Duration::from_micros(999_999));
        assert_eq!(world.open("a", "").await.unwrap(), "1");
        world.clock.advance(Duration::from_micros(1));
        assert_eq!(world.open("a", "").await.unwrap(), "2");
        assert_eq!(world.open("a", "changing").await.unwrap(), "3");
        assert_eq!(world.open("a", "changing").await.unwrap(), "4");
    }

    #[tokio::test]
    async fn nothing_is_given_when_metadata_does_not_answer() {
        let world = World::new(1 << 20);
        assert_eq!(world.open("a", "").await.unwrap(), "1");
        world.state().is_down = true;
        assert_eq!(world.open("a", "").await.unwrap_err().code(), tonic::Code::Unavailable);
        world.state().is_down = false;
        assert_eq!(world.open("a", "").await.unwrap(), "1");
    }

    #[tokio::test]
    async fn without_memory_nothing_is_kept() {
        let world = World::new(0);
        assert_eq!(world.open("a", "").await.unwrap(), "1");
        assert_eq!(world.open("a", "").await.unwrap(), "2");
    }

    #[tokio::test]
    async fn those_who_come_together_ask_together() {
        let world = World::new(1 << 20);
        for account in 0..100 {
            world.open(&account.to_string(), "").await.unwrap();
        }
        let opened = (0..100).map(|account: u32| {
            let world = &world;
            async move { world.open(&account.to_string(), "").await.unwrap() }
        });
        let opened = futures::future::join_all(opened).await;
        assert!(opened.iter().enumerate().all(|(index, answer)| *answer == (index + 1).to_string()));
        assert!(world.state().checked < 10, "{}", world.state().checked);
    }
}
