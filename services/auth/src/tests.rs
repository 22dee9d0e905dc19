//! The service as its callers see it: through its wrapped routes, on SQLite in a temporary folder.

mod access;
mod accounts;
mod delegation;
mod reuse;
mod secrets;
mod sessions;
mod tokens;

use std::path::Path;
use std::time::Duration;

use holdall_proto::auth::v1::account_service_client::AccountServiceClient;
use holdall_proto::auth::v1::key_service_client::KeyServiceClient;
use holdall_proto::auth::v1::session_service_client::SessionServiceClient;
use holdall_proto::auth::v1::{
    CreateSessionRequest, CreateSessionResponse, Delegation, ExchangeSessionRequest, ExchangeSessionResponse,
    RegisterRequest,
};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::ManualClock;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::status::reason_of;
use holdall_runtime::token::bearer;
use holdall_runtime::upstream::{Upstream, in_process};
use tonic::{Code, Request, Status};

use crate::domain::LoginKey;
use crate::store::Store;
use crate::{Config, build};

const NOW: i64 = 1_800_000_000_000_000;
const PASSWORD: &str = "correct horse";

/// What those who act for others share with the service.
const DELEGATION_KEYS: [[u8; 32]; 2] = [key(7), key(8)];

/// A key that begins so; keys of the same bytes all over are refused.
const fn key(first: u8) -> [u8; 32] {
    let mut key = [1; 32];
    key[0] = first;
    key
}

struct Auth {
    upstream: Upstream,
    clock: ManualClock,
    shutdown: Shutdown,
    dir: tempfile::TempDir,
}

/// As cheap as Argon2 gets, without limits.
fn config() -> Config {
    let mut config = Config::default();
    config.password.memory_kib = 8;
    config.password.iterations = 1;
    config.password.concurrency = 2;
    config.rate_limits.enabled = false;
    config
}

impl Auth {
    async fn start() -> Self {
        Self::with(config()).await
    }

    /// With keys for those who act for others.
    async fn delegating() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = delegating(dir.path());
        Self::within(dir, config).await
    }

    async fn with(config: Config) -> Self {
        Self::within(tempfile::tempdir().unwrap(), config).await
    }

    async fn within(dir: tempfile::TempDir, config: Config) -> Self {
        let clock = ManualClock::at(NOW);
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let service = build(config.within(dir.path()), clock.clock(), &shutdown).await.unwrap();
        Self { upstream: in_process(service.routes, None), clock, shutdown, dir }
    }

    /// Another process on the same data, as a replica would be.
    async fn replica(&self, config: Config) -> Upstream {
        let service =
            build(config.within(self.dir.path()), self.clock.clock(), &self.shutdown).await.unwrap();
        in_process(service.routes, None)
    }

    /// The configuration of [`delegating`](Self::delegating).
    fn config(&self) -> Config {
        delegating(self.dir.path())
    }

    async fn store(&self) -> Store {
        Store::open(&config().within(self.dir.path()).database).await.unwrap()
    }

    /// Changes rows behind the service's back.
    async fn execute(&self, statement: &'static str) {
        self.store().await.execute(statement).await;
    }

    /// The credential as it is stored.
    async fn credential(&self, username: &str) -> String {
        let key = LoginKey::of_login(username).unwrap();
        self.store().await.account_by_login(&key).await.unwrap().unwrap().credential.reveal().to_owned()
    }

    fn accounts(&self) -> AccountServiceClient<Upstream> {
        AccountServiceClient::new(self.upstream.clone())
    }

    fn sessions(&self) -> SessionServiceClient<Upstream> {
        SessionServiceClient::new(self.upstream.clone())
    }

    fn keys(&self) -> KeyServiceClient<Upstream> {
        KeyServiceClient::new(self.upstream.clone())
    }

    async fn register(&self, username: &str) -> String {
        let answer = self.accounts().register(registration(username)).await.unwrap();
        answer.into_inner().account.unwrap().account_id
    }

    async fn sign_in(&self, login: &str, password: &str) -> Result<CreateSessionResponse, Status> {
        let answer = self.sessions().create_session(sign_in(login, password)).await;
        answer.map(tonic::Response::into_inner)
    }

    /// A registered and signed-in person.
    async fn person(&self, username: &str) -> CreateSessionResponse {
        self.register(username).await;
        self.sign_in(username, PASSWORD).await.unwrap()
    }

    async fn exchange(&self, handle: &str) -> Result<ExchangeSessionResponse, Status> {
        exchange(&self.upstream, handle, false).await
    }

    async fn extend(&self, handle: &str) -> Result<ExchangeSessionResponse, Status> {
        exchange(&self.upstream, handle, true).await
    }
}

/// [`config`] with the keys of those who act for others, as files in `dir`.
fn delegating(dir: &Path) -> Config {
    let mut config = config();
    for (n, key) in DELEGATION_KEYS.iter().enumerate() {
        let file = dir.join(format!("delegation{n}.key"));
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(&file, digits).unwrap();
        config.delegation.key_files.push(file);
    }
    config
}

fn sealed(key: &[u8; 32], method: &str, expires_at_us: i64) -> Vec<u8> {
    KeyRing::new(key).seal(&Delegation { method: method.to_owned(), expires_at_us }).to_vec()
}

/// A delegation for a method, good for a minute from the tests' beginning of time.
fn delegation(method: &str) -> Vec<u8> {
    sealed(&DELEGATION_KEYS[0], method, NOW + 60_000_000)
}

impl Drop for Auth {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

async fn exchange(
    upstream: &Upstream,
    handle: &str,
    extend: bool,
) -> Result<ExchangeSessionResponse, Status> {
    let request = ExchangeSessionRequest { handle: handle.to_owned(), extend };
    let answer = SessionServiceClient::new(upstream.clone()).exchange_session(request).await;
    answer.map(tonic::Response::into_inner)
}

fn registration(username: &str) -> RegisterRequest {
    RegisterRequest { username: username.into(), password: PASSWORD.into(), ..RegisterRequest::default() }
}

fn sign_in(login: &str, password: &str) -> CreateSessionRequest {
    CreateSessionRequest { login: login.into(), password: password.into(), ..CreateSessionRequest::default() }
}

/// A request with the access token that came with a session.
fn by<T>(session: &CreateSessionResponse, message: T) -> Request<T> {
    let mut request = Request::new(message);
    bearer(&mut request, &session.access_token.as_ref().unwrap().token).unwrap();
    request
}

/// Code and reason of a refusal.
#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("expected a refusal");
    (status.code(), reason_of(&status).unwrap_or_else(|| panic!("{status:?} has no reason")))
}

/// [`refusal`], to compare with.
fn expected(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// A wire time as microseconds since the tests' beginning of time.
fn since_start(time: &Option<prost_types::Timestamp>) -> i64 {
    holdall_proto::unix_us(time.as_ref().unwrap()).unwrap() - NOW
}
