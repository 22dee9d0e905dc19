//! What must not be seen.

use std::io::Write;
use std::sync::{Arc, Mutex};

use holdall_proto::auth::v1::{ChangePasswordRequest, RevokeSessionRequest};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::authority::{Authority, SignIn};
use crate::domain::Kind;
use crate::keys::{KeyPolicy, Keyring};
use crate::limits::Limits;
use crate::password::Hasher;
use crate::store::Store;

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
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let exchanged = auth.extend(&alice.handle).await.unwrap();
    auth.sign_in("alice", "mistyped secret").await.unwrap_err();
    auth.sign_in("a password in the wrong field", "x").await.unwrap_err();
    let change = ChangePasswordRequest {
        current_password: PASSWORD.into(),
        new_password: "battery staple".into(),
        client_address: String::new(),
    };
    auth.accounts().change_password(by(&alice, change)).await.unwrap();
    auth.sessions().revoke_session(by(&alice, RevokeSessionRequest::default())).await.unwrap();

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
        "$argon2id",
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} in the log");
    }
    for file in ["auth.db", "auth.db-wal"] {
        let bytes = std::fs::read(auth.dir.path().join(file)).unwrap();
        let rows = String::from_utf8_lossy(&bytes);
        for secret in &secrets[..secrets.len() - 1] {
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
    )
    .await
    .unwrap();
    let alice = authority.registration("alice", "", PASSWORD, String::new(), "").unwrap();
    authority.register(alice).await.unwrap();
    for (login, password) in [("alice", "wrong"), ("bob", "wrong"), ("bob", PASSWORD), ("", ""), ("\0", "x")]
    {
        let before = authority.hashes();
        authority.sign_in(SignIn::new(login, password, Kind::Api, "", "").unwrap()).await.unwrap_err();
        assert_eq!(authority.hashes() - before, 1, "{login:?}");
    }
}
