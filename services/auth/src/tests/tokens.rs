use std::fs;

use holdall_proto::auth::v1::{GetAccountRequest, ListKeysRequest};
use holdall_runtime::token::{Signer, Verifier, VerifyingKey, key_source};

use super::*;
use crate::keys::{AUDIENCE, ISSUER};

async fn published(auth: &Auth) -> Vec<VerifyingKey> {
    let keys = auth.keys().list_keys(ListKeysRequest {}).await.unwrap().into_inner().keys;
    keys.into_iter()
        .map(|key| VerifyingKey {
            kid: key.key_id,
            public: key.ed25519_public_key.as_ref().try_into().unwrap(),
        })
        .collect()
}

/// Another service, that fetches the keys as it needs them.
fn verifier(auth: &Auth) -> Verifier {
    let keys = auth.keys();
    let source = key_source(move || {
        let mut keys = keys.clone();
        async move {
            let keys = keys.list_keys(ListKeysRequest {}).await?.into_inner().keys;
            let keys = keys.into_iter().map(|key| {
                Ok(VerifyingKey { kid: key.key_id, public: key.ed25519_public_key.as_ref().try_into()? })
            });
            keys.collect()
        }
    });
    Verifier::new(ISSUER, AUDIENCE, source, auth.clock.clock())
}

fn token(session: &CreateSessionResponse) -> &str {
    &session.access_token.as_ref().unwrap().token
}

#[tokio::test]
async fn a_token_proves_account_and_session_to_other_services() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let session = alice.session.clone().unwrap();
    let caller = verifier(&auth).verify(token(&alice)).await.unwrap();
    assert_eq!(caller.account_id.to_string(), session.account_id);
    assert_eq!(caller.session_id.to_string(), session.session_id);
    assert_eq!((caller.kind.as_str(), caller.role.as_str()), ("api", "member"));
    auth.clock.advance(seconds(306));
    assert!(verifier(&auth).verify(token(&alice)).await.is_err());
}

#[tokio::test]
async fn a_token_is_handed_out_again_while_it_lasts() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let exchange = async || auth.exchange(&alice.handle).await.unwrap().access_token.unwrap();
    let first = exchange().await;
    auth.clock.advance(seconds(239));
    assert_eq!(exchange().await, first);
    auth.clock.advance(seconds(1));
    let second = exchange().await;
    assert_ne!(second, first);
    assert_eq!(since_start(&second.expires_at), 540_000_000);
}

#[tokio::test]
async fn a_token_never_outlives_its_session() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    auth.clock.advance(days(90) - seconds(30));
    let last = auth.exchange(&alice.handle).await.unwrap();
    assert_eq!(last.access_token.as_ref().unwrap().expires_at, last.session.unwrap().expires_at);
    auth.clock.advance(seconds(20));
    assert_eq!(auth.exchange(&alice.handle).await.unwrap().access_token, last.access_token);
}

#[tokio::test]
async fn calls_without_a_good_token_are_refused() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let mut accounts = auth.accounts();
    assert_eq!(
        refusal(accounts.get_account(GetAccountRequest {}).await),
        expected(Code::Unauthenticated, "TOKEN_MISSING")
    );
    for bad in [alice.handle.as_str(), "x", "a.b.c", &token(&alice)[..token(&alice).len() - 2]] {
        let mut request = Request::new(GetAccountRequest {});
        bearer(&mut request, bad).unwrap();
        assert_eq!(
            refusal(accounts.get_account(request).await),
            expected(Code::Unauthenticated, "TOKEN_INVALID"),
        );
    }
    auth.clock.advance(seconds(306));
    assert_eq!(
        refusal(accounts.get_account(by(&alice, GetAccountRequest {})).await),
        expected(Code::Unauthenticated, "TOKEN_EXPIRED")
    );
}

#[tokio::test]
async fn tokens_of_a_rotated_key_count_and_those_of_a_removed_one_do_not() {
    let mut auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let keys = auth.dir.path().join("keys");
    let old = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();

    // A key that signs from now on, brought along by hand. A new process reads it at once.
    auth.clock.advance(seconds(100));
    let pkcs8 = Signer::generate().unwrap();
    fs::write(keys.join(format!("{}.der", auth.clock.clock().now_seconds())), pkcs8).unwrap();
    auth.upstream = auth.replica(config()).await;
    let bob = auth.person("bob").await;
    assert_eq!(published(&auth).await.len(), 2);
    let rotated = verifier(&auth);
    rotated.verify(token(&alice)).await.expect("an old key stays published");
    rotated.verify(token(&bob)).await.unwrap();

    fs::remove_file(old).unwrap();
    auth.upstream = auth.replica(config()).await;
    assert_eq!(published(&auth).await.len(), 1);
    assert!(verifier(&auth).verify(token(&alice)).await.is_err());
    verifier(&auth).verify(token(&bob)).await.unwrap();
}
