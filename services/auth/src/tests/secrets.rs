//! What must not be seen.

use std::io::Write;
use std::sync::{Arc, Mutex};

use holdall_proto::auth::v1::act_for_request::Account as Whom;
use holdall_proto::auth::v1::delegation_service_client::DelegationServiceClient;
use holdall_proto::auth::v1::{ActForRequest, ChangePasswordRequest, RevokeSessionRequest};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::authority::{Authority, Form, SignIn};
use crate::delegation::Delegations;
use crate::domain::Kind;
use crate::keys::{KeyPolicy, Keyring};
use crate::limits::Limits;
use crate::password::Hasher;

/// [`PASSWORD`], hashed elsewhere.
const IMPORTED: &str = "$1$deadbeef$dedjvjO4ZAEydph55Edcn/";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_secret_is_logged_or_kept_in_the_clear() {
    // With a single subscriber, whichever thread comes to an event first decides whether it is ever seen, and the other
    // tests' threads have none. With two, all subscribers are asked.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let auth = Auth::delegating().await;
    let alice = auth.person("alice").await;
    let exchanged = auth.extend(&alice.handle).await.unwrap();
    auth.sign_in("alice", "mistyped secret").await.unwrap_err();
    auth.sign_in("a password in the wrong field", "x").await.unwrap_err();
    let change = ChangePasswordRequest {
        current_password: PASSWORD.into(),
        new_password: "battery staple".into(),
        ..ChangePasswordRequest::default()
    };
    auth.accounts().change_password(by(&alice, change)).await.unwrap();
    auth.sessions().revoke_session(by(&alice, RevokeSessionRequest::default())).await.unwrap();

    let imported = RegisterRequest {
        username: "bob".into(),
        imported_credential: IMPORTED.into(),
        delegation: delegation(crate::delegation::REGISTER).into(),
        ..RegisterRequest::default()
    };
    auth.accounts().register(imported).await.unwrap();
    let request = CreateSessionRequest { reuse: true, uuid_handle: true, ..sign_in("bob", PASSWORD) };
    let reused = auth.sessions().create_session(request).await.unwrap().into_inner().handle;
    auth.exchange(&reused).await.unwrap();
    let request = ActForRequest {
        delegation: delegation(crate::delegation::ACT_FOR).into(),
        account: Some(Whom::Username("bob".into())),
    };
    let acting = DelegationServiceClient::new(auth.upstream.clone()).act_for(request).await.unwrap();
    let acting = acting.into_inner().access_token.unwrap().token;

    let text = log.text();
    assert!(text.contains("signed in") && text.contains("password changed"), "the log was captured: {text}");
    let token = exchanged.access_token.unwrap().token;
    let secrets = [
        PASSWORD,
        "mistyped secret",
        "battery staple",
        "a password in the wrong field",
        &alice.handle,
        &alice.handle[3..],
        &token,
        token.rsplit('.').next().unwrap(),
        acting.rsplit('.').next().unwrap(),
        &reused,
        &reused.replace('-', ""),
        IMPORTED,
        "$argon2id",
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} in the log");
    }
    for file in ["auth.db", "auth.db-wal"] {
        let bytes = std::fs::read(auth.dir.path().join(file)).unwrap();
        let rows = String::from_utf8_lossy(&bytes);
        // Credentials are what the database is for.
        for secret in &secrets[..secrets.len() - 2] {
            assert!(!rows.contains(secret), "{secret} in {file}");
        }
    }
}

#[tokio::test]
async fn an_unknown_name_costs_a_hash_like_a_wrong_password() {
    let dir = tempfile::tempdir().unwrap();
    let config = config().within(dir.path());
    let policy = KeyPolicy {
        dir: config.signing.keys_dir.clone().unwrap(),
        rotate_after: Some(days(90)),
        token_lifetime: seconds(300),
    };
    let authority = Authority::new(
        crate::config::policy(&config),
        Store::open(&config.database).await.unwrap(),
        ManualClock::at(NOW).clock(),
        Hasher::new(&config.password.cost()).unwrap(),
        Limits::new(None),
        Arc::new(Keyring::open(policy, NOW / 1_000_000).unwrap()),
        Delegations::default(),
    )
    .await
    .unwrap();
    let alice =
        authority.registration(&Form { username: "alice", password: PASSWORD, ..Form::default() }).unwrap();
    authority.register(alice).await.unwrap();
    for (login, password) in [("alice", "wrong"), ("bob", "wrong"), ("bob", PASSWORD), ("", ""), ("\0", "x")]
    {
        let before = authority.hashes();
        authority.sign_in(SignIn::new(login, password, Kind::Api, "", "").unwrap()).await.unwrap_err();
        assert_eq!(authority.hashes() - before, 1, "{login:?}");
    }
}
