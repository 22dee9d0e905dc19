//! What auth said of handles and of accounts to act for, where auth runs elsewhere.
//!
//! Each answer of auth says for how long it may be taken again; auth counts what it remembers itself, so however many remember,
//! the end of a session is noticed within the five seconds that auth promises. And whatever has an effect at auth and goes
//! through this process makes it forget everything, before and after: what ends here ends here at once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use holdall_proto::auth::v1::act_for_request::Account as ForWhom;
use holdall_proto::auth::v1::delegation_service_client::DelegationServiceClient;
use holdall_proto::auth::v1::session_service_client::SessionServiceClient;
use holdall_proto::auth::v1::{
    ActForRequest, ActForResponse, ExchangeSessionRequest, ExchangeSessionResponse,
};
use holdall_proto::span_us;
use holdall_runtime::clock::Clock;
use holdall_runtime::upstream::{CallError, Upstream};
use http::{Request, Response};
use moka::sync::Cache;
use tonic::Status;
use tonic::body::Body;
use tower::Service;
use tower::util::BoxCloneSyncService;

/// Answers of each kind that are remembered; about 1 KiB each.
const REMEMBERED: u64 = 16_384;
/// Nothing is remembered for longer, whatever auth says.
const LONGEST: Duration = Duration::from_secs(5);

/// Has effects when it is asked to extend the session, which its path does not show.
const EXCHANGE: &str = "/holdall.auth.v1.SessionService/ExchangeSession";

/// Exchanges that are remembered. Clones remember the same.
#[derive(Clone)]
pub struct Exchanges(Arc<Shared>);

struct Shared {
    auth: Upstream,
    clock: Clock,
    /// Counts beginnings and ends of calls that may have changed something at auth.
    effects: Arc<AtomicU64>,
    /// By the hash of the handle, which is a secret.
    sessions: Cache<[u8; 32], Kept<ExchangeSessionResponse>>,
    acting: Cache<Whom, Kept<ActForResponse>>,
}

/// See [`ForWhom`].
#[derive(Clone, PartialEq, Eq, Hash)]
enum Whom {
    Username(String),
    System(String),
}

#[derive(Clone)]
struct Kept<A> {
    answer: A,
    asked_at: i64,
    /// Microseconds from then on.
    lasts: i64,
    effects: u64,
}

impl Exchanges {
    /// Remembers what `auth` answers.
    pub fn new(auth: Upstream, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            auth,
            clock,
            effects: Arc::default(),
            sessions: Cache::builder().max_capacity(REMEMBERED).time_to_live(LONGEST).build(),
            acting: Cache::builder().max_capacity(REMEMBERED).time_to_live(LONGEST).build(),
        }))
    }

    /// Auth, for everything but [`exchange`](Self::exchange) and [`act_for`](Self::act_for): calls that have effects are
    /// noticed.
    pub fn noticing(&self) -> Upstream {
        let mut harmless = holdall_proto::harmless_methods();
        harmless.remove(EXCHANGE);
        BoxCloneSyncService::new(Noticing {
            auth: self.0.auth.clone(),
            effects: Arc::clone(&self.0.effects),
            harmless: Arc::new(harmless),
        })
    }

    /// What a handle stands for.
    pub async fn exchange(&self, request: ExchangeSessionRequest) -> Result<ExchangeSessionResponse, Status> {
        let key = *blake3::hash(request.handle.as_bytes()).as_bytes();
        let ask = async {
            let mut client = SessionServiceClient::new(self.0.auth.clone());
            let answer = client.exchange_session(request).await?.into_inner();
            Ok((span_us(answer.reusable_for.as_ref()), answer))
        };
        self.0.recall(&self.0.sessions, key, ask).await
    }

    /// Leave to act for an account. `request` proves the right to it anew.
    pub async fn act_for(&self, request: ActForRequest) -> Result<ActForResponse, Status> {
        let key = match request.account.clone() {
            Some(ForWhom::Username(name)) => Whom::Username(name),
            Some(ForWhom::System(name)) => Whom::System(name),
            None => return Err(Status::internal("nobody to act for")),
        };
        let ask = async {
            let mut client = DelegationServiceClient::new(self.0.auth.clone());
            let answer = client.act_for(request).await?.into_inner();
            Ok((span_us(answer.reusable_for.as_ref()), answer))
        };
        self.0.recall(&self.0.acting, key, ask).await
    }
}

impl Shared {
    /// What is remembered under `key`, or else what `ask` gives, with the time for which it may be remembered.
    async fn recall<K, A>(
        &self,
        kept: &Cache<K, Kept<A>>,
        key: K,
        ask: impl Future<Output = Result<(i64, A), Status>>,
    ) -> Result<A, Status>
    where
        K: Hash + Eq + Send + Sync + 'static,
        A: Clone + Send + Sync + 'static,
    {
        // Both from before asking.
        let (asked_at, effects) = (self.clock.now(), self.effects.load(Ordering::SeqCst));
        if let Some(known) = kept.get(&key)
            && known.effects == effects
            && (0..known.lasts).contains(&(asked_at - known.asked_at))
        {
            return Ok(known.answer);
        }
        let (lasts, answer) = ask.await?;
        if lasts > 0 {
            kept.insert(key, Kept { answer: answer.clone(), asked_at, lasts, effects });
        }
        Ok(answer)
    }
}

/// Notices calls that may change something.
#[derive(Clone)]
struct Noticing {
    auth: Upstream,
    effects: Arc<AtomicU64>,
    harmless: Arc<HashSet<String>>,
}

impl Service<Request<Body>> for Noticing {
    type Response = Response<Body>;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Response<Body>, CallError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.auth.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if !path.starts_with("/holdall.auth.") || self.harmless.contains(path) {
            return self.auth.call(request).boxed();
        }
        let effect = Effect::begin(&self.effects);
        let answer = self.auth.call(request);
        async move {
            let answer = answer.await;
            drop(effect);
            answer
        }
        .boxed()
    }
}

/// A call that may change something: whatever was asked before its end is not taken again.
struct Effect(Arc<AtomicU64>);

impl Effect {
    fn begin(effects: &Arc<AtomicU64>) -> Self {
        effects.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(effects))
    }
}

impl Drop for Effect {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use holdall_proto::auth::v1::session_service_server::{SessionService, SessionServiceServer};
    use holdall_proto::auth::v1::*;
    use holdall_proto::span;
    use holdall_runtime::testing::ManualClock;
    use holdall_runtime::upstream::in_process;
    use tonic::service::Routes;
    use tonic::{Request, Response};

    use super::*;

    /// Auth, as far as it is asked: says how often it was, and that this may be told for two seconds.
    #[derive(Clone, Default)]
    struct Auth(Arc<AtomicU64>);

    #[tonic::async_trait]
    impl SessionService for Auth {
        async fn create_session(
            &self,
            _: Request<CreateSessionRequest>,
        ) -> Result<Response<CreateSessionResponse>, Status> {
            Err(Status::unauthenticated("wrong"))
        }

        async fn exchange_session(
            &self,
            request: Request<ExchangeSessionRequest>,
        ) -> Result<Response<ExchangeSessionResponse>, Status> {
            let asked = self.0.fetch_add(1, Ordering::SeqCst);
            match request.get_ref().handle.as_str() {
                "wrong" => Err(Status::unauthenticated("wrong")),
                handle => Ok(Response::new(ExchangeSessionResponse {
                    access_token: Some(AccessToken { token: asked.to_string(), ..AccessToken::default() }),
                    reusable_for: span(if handle == "never" { 0 } else { 2_000_000 }),
                    ..ExchangeSessionResponse::default()
                })),
            }
        }

        async fn rotate_session(
            &self,
            _: Request<RotateSessionRequest>,
        ) -> Result<Response<RotateSessionResponse>, Status> {
            Err(Status::unauthenticated("wrong"))
        }

        async fn list_sessions(
            &self,
            _: Request<ListSessionsRequest>,
        ) -> Result<Response<ListSessionsResponse>, Status> {
            Ok(Response::new(ListSessionsResponse::default()))
        }

        async fn revoke_session(
            &self,
            _: Request<RevokeSessionRequest>,
        ) -> Result<Response<RevokeSessionResponse>, Status> {
            Ok(Response::new(RevokeSessionResponse {}))
        }
    }

    struct World {
        exchanges: Exchanges,
        clock: ManualClock,
    }

    impl World {
        fn new() -> Self {
            let clock = ManualClock::at(0);
            let auth = in_process(Routes::new(SessionServiceServer::new(Auth::default())), None);
            Self { exchanges: Exchanges::new(auth, clock.clock()), clock }
        }

        /// The how manieth question the answer is from.
        async fn ask(&self, handle: &str) -> Result<String, Status> {
            let request = ExchangeSessionRequest { handle: handle.to_owned(), extend: false };
            Ok(self.exchanges.exchange(request).await?.access_token.unwrap_or_default().token)
        }

        fn client(&self) -> SessionServiceClient<Upstream> {
            SessionServiceClient::new(self.exchanges.noticing())
        }
    }

    #[tokio::test]
    async fn an_answer_is_taken_again_for_as_long_as_it_says() {
        let world = World::new();
        assert_eq!(world.ask("a").await.unwrap(), "0");
        world.clock.advance(Duration::from_micros(1_999_999));
        assert_eq!(world.ask("a").await.unwrap(), "0");
        assert_eq!(world.ask("b").await.unwrap(), "1");
        world.clock.advance(Duration::from_micros(1));
        assert_eq!(world.ask("a").await.unwrap(), "2");
        assert_eq!(world.ask("never").await.unwrap(), "3");
        assert_eq!(world.ask("never").await.unwrap(), "4");
        assert!(world.ask("wrong").await.is_err());
        assert_eq!(world.ask("a").await.unwrap(), "2");
    }

    #[tokio::test]
    async fn whatever_has_effects_makes_it_forget() {
        let world = World::new();
        let mut client = world.client();
        assert_eq!(world.ask("a").await.unwrap(), "0");
        client.list_sessions(ListSessionsRequest::default()).await.unwrap();
        assert_eq!(world.ask("a").await.unwrap(), "0", "a look has none");
        client.revoke_session(RevokeSessionRequest::default()).await.unwrap();
        assert_eq!(world.ask("a").await.unwrap(), "1");
        // Also what failed, and what was given up.
        client.create_session(CreateSessionRequest::default()).await.unwrap_err();
        assert_eq!(world.ask("a").await.unwrap(), "2");
        drop(client.rotate_session(RotateSessionRequest::default()).now_or_never());
        assert_eq!(world.ask("a").await.unwrap(), "3");
        // An exchange may extend the session.
        let request = ExchangeSessionRequest { handle: "b".to_owned(), extend: true };
        client.exchange_session(request).await.unwrap();
        assert_eq!(world.ask("a").await.unwrap(), "5");
    }
}
