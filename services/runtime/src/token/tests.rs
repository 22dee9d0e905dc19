use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;

const NOW: i64 = 1_800_000_000;

/// A signer's side: keys that are published, and how often they were fetched.
#[derive(Clone, Default)]
struct Published {
    keys: Arc<Mutex<Option<Vec<VerifyingKey>>>>,
    fetches: Arc<AtomicUsize>,
}

impl Published {
    fn publish(&self, signers: &[&Signer]) {
        *self.keys.lock().unwrap() =
            Some(signers.iter().map(|signer| signer.verifying_key().clone()).collect());
    }

    fn withhold(&self) {
        *self.keys.lock().unwrap() = None;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn verifier(&self, clock: &ManualClock) -> Verifier {
        let published = self.clone();
        let source = key_source(move || {
            published.fetches.fetch_add(1, Ordering::SeqCst);
            let keys = published.keys.lock().unwrap().clone();
            async move { keys.ok_or_else(|| "away".into()) }
        });
        Verifier::new("issuer", "audience", source, clock.clock())
    }
}

struct Setting {
    signer: Signer,
    published: Published,
    clock: ManualClock,
    verifier: Verifier,
}

fn setting() -> Setting {
    let signer = signer("k1");
    let published = Published::default();
    published.publish(&[&signer]);
    let clock = ManualClock::at(NOW * 1_000_000);
    let verifier = published.verifier(&clock);
    Setting { signer, published, clock, verifier }
}

fn signer(kid: &str) -> Signer {
    Signer::from_pkcs8(kid, &Signer::generate().unwrap()).unwrap()
}

fn claims() -> Claims {
    Claims {
        iss: "issuer".to_owned(),
        aud: "audience".to_owned(),
        sub: Uuid::from_u128(1),
        sid: Uuid::from_u128(2),
        kind: "web".to_owned(),
        role: "member".to_owned(),
        iat: NOW,
        exp: NOW + 300,
    }
}

/// A token with any header and claims, truly signed.
fn forge(pkcs8: &[u8], header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = ring::signature::Ed25519KeyPair::from_pkcs8(pkcs8).unwrap();
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test]
async fn a_good_token_proves_its_caller() {
    let Setting { signer, published, verifier, .. } = setting();
    let token = signer.sign(&claims()).unwrap();
    let caller = verifier.verify(&token).await.unwrap();
    let expected = Caller {
        account_id: Uuid::from_u128(1),
        session_id: Uuid::from_u128(2),
        kind: "web".to_owned(),
        role: "member".to_owned(),
    };
    assert_eq!(*caller, expected);
    assert_eq!(verifier.verify(&token).await, Ok(caller));
    assert_eq!(published.fetches(), 1);
}

#[tokio::test]
async fn tokens_end_also_for_one_who_remembers_them() {
    let Setting { signer, clock, verifier, .. } = setting();
    let token = signer.sign(&claims()).unwrap();
    clock.advance(Duration::from_secs(300) + Duration::from_secs(4));
    assert!(verifier.verify(&token).await.is_ok());
    clock.advance(Duration::from_secs(1));
    assert_eq!(verifier.verify(&token).await, Err(TokenError::Expired));
    assert_eq!(verifier.verify(&token).await, Err(TokenError::Expired));
}

#[tokio::test]
async fn tokens_for_or_by_somebody_else_are_refused() {
    let Setting { signer, verifier, .. } = setting();
    for wrong in
        [Claims { aud: "other".to_owned(), ..claims() }, Claims { iss: "other".to_owned(), ..claims() }]
    {
        assert_eq!(verifier.verify(&signer.sign(&wrong).unwrap()).await, Err(TokenError::Invalid));
    }
    // Another key under the same id.
    let stranger = Signer::from_pkcs8("k1", &Signer::generate().unwrap()).unwrap();
    assert_eq!(verifier.verify(&stranger.sign(&claims()).unwrap()).await, Err(TokenError::Invalid));
}

#[tokio::test]
async fn headers_and_claims_are_read_strictly() {
    let pkcs8 = Signer::generate().unwrap();
    let signer = Signer::from_pkcs8("k1", &pkcs8).unwrap();
    let published = Published::default();
    published.publish(&[&signer]);
    let verifier = published.verifier(&ManualClock::at(NOW * 1_000_000));
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"});
    let good = serde_json::to_value(claims()).unwrap();
    let with = |base: &Value, key: &str, value: Value| {
        let mut changed = base.clone();
        changed.as_object_mut().unwrap().insert(key.to_owned(), value);
        changed
    };
    let without = |base: &Value, key: &str| {
        let mut changed = base.clone();
        changed.as_object_mut().unwrap().remove(key);
        changed
    };

    assert!(verifier.verify(&forge(&pkcs8, &header, &good)).await.is_ok());
    assert!(verifier.verify(&forge(&pkcs8, &without(&header, "typ"), &good)).await.is_ok());
    let past = with(&good, "nbf", json!(NOW - 1));
    assert!(verifier.verify(&forge(&pkcs8, &header, &past)).await.is_ok());

    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32])});
    let headers = [
        with(&header, "alg", json!("none")),
        with(&header, "alg", json!("HS256")),
        with(&header, "alg", json!("RS256")),
        with(&header, "kid", json!("../../k1")),
        with(&header, "kid", json!("k1' OR '1'='1")),
        without(&header, "kid"),
        without(&header, "alg"),
        with(&header, "crit", json!(["x"])),
        with(&header, "jwk", jwk),
        with(&header, "jku", json!("https://example.com")),
        with(&header, "unheard", json!("of")),
        with(&header, "typ", json!("other")),
    ];
    let claims = [
        without(&good, "exp"),
        without(&good, "iss"),
        without(&good, "aud"),
        without(&good, "sub"),
        without(&good, "sid"),
        with(&good, "exp", json!((NOW + 300).to_string())),
        with(&good, "exp", json!(null)),
        with(&good, "exp", json!(1e300)),
        with(&good, "sub", json!("nobody")),
        with(&good, "aud", json!(["other"])),
        with(&good, "nbf", json!(NOW + 60)),
        with(&good, "nbf", json!("soon")),
    ];
    // Unknown key ids wait for the next fetch; the time of the test is not what matters here.
    tokio::time::pause();
    for header in &headers {
        assert_eq!(
            verifier.verify(&forge(&pkcs8, header, &good)).await,
            Err(TokenError::Invalid),
            "{header}"
        );
    }
    for claims in &claims {
        assert_eq!(
            verifier.verify(&forge(&pkcs8, &header, claims)).await,
            Err(TokenError::Invalid),
            "{claims}"
        );
    }
}

#[tokio::test]
async fn damaged_tokens_are_refused() {
    let Setting { signer, verifier, .. } = setting();
    let good = signer.sign(&claims()).unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let mut flipped = claims();
    flipped.role = "admin".to_owned();
    let other_payload = URL_SAFE_NO_PAD.encode(serde_json::to_string(&flipped).unwrap());
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        message.to_owned(),
        format!("{message}."),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{header}.{other_payload}.{signature}"),
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        format!("{good}{}", "A".repeat(MAX_TOKEN_LEN)),
        "\u{1F4BC}".repeat(20),
    ] {
        assert_eq!(verifier.verify(&bad).await, Err(TokenError::Invalid), "{bad:.80}");
    }
    // An HMAC keyed with the public key, for verifiers that let the token choose.
    let hs256 = {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}).to_string());
        let message = format!("{header}.{payload}");
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &signer.verifying_key().public);
        let tag = ring::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    assert_eq!(verifier.verify(&hs256).await, Err(TokenError::Invalid));
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_at_its_first_token() {
    let Setting { signer: old, published, verifier, .. } = setting();
    let old_token = old.sign(&claims()).unwrap();
    assert!(verifier.verify(&old_token).await.is_ok());

    let new = signer("k2");
    published.publish(&[&new, &old]);
    let new_token = new.sign(&claims()).unwrap();
    assert!(verifier.verify(&new_token).await.is_ok());
    assert!(verifier.verify(&old_token).await.is_ok());
    assert_eq!(published.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_noticed_in_time_also_for_remembered_tokens() {
    let Setting { signer: old, published, verifier, .. } = setting();
    let old_token = old.sign(&claims()).unwrap();
    assert!(verifier.verify(&old_token).await.is_ok());

    let new = signer("k2");
    published.publish(&[&new]);
    assert!(verifier.verify(&new.sign(&claims()).unwrap()).await.is_ok());
    assert_eq!(verifier.verify(&old_token).await, Err(TokenError::Invalid));
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_cause_one_fetch_a_second() {
    let Setting { published, verifier, .. } = setting();
    let tokens: Vec<_> =
        (0..100).map(|number| signer(&format!("unknown {number}")).sign(&claims()).unwrap()).collect();
    let started = tokio::time::Instant::now();
    let outcomes = futures::future::join_all(tokens.iter().map(|token| verifier.verify(token))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Err(TokenError::Invalid)));
    assert_eq!((published.fetches(), started.elapsed().as_secs()), (2, 1));
    let _ = verifier.verify(&tokens[0]).await;
    assert_eq!((published.fetches(), started.elapsed().as_secs()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn without_its_keys_a_verifier_knows_nothing_new_but_goes_on() {
    let Setting { signer, published, clock, verifier } = setting();
    published.withhold();
    let token = signer.sign(&claims()).unwrap();
    assert_eq!(verifier.verify(&token).await, Err(TokenError::Unavailable));

    published.publish(&[&signer]);
    assert!(verifier.verify(&token).await.is_ok());
    published.withhold();
    let later = signer.sign(&Claims { exp: NOW + 4000, ..claims() }).unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    clock.advance(Duration::from_secs(3600));
    assert!(verifier.verify(&later).await.is_ok());
    assert_eq!(published.fetches(), 3);
}

#[test]
fn failures_are_statuses_with_reasons() {
    for (error, code, reason) in [
        (TokenError::Missing, Code::Unauthenticated, "TOKEN_MISSING"),
        (TokenError::Invalid, Code::Unauthenticated, "TOKEN_INVALID"),
        (TokenError::Expired, Code::Unauthenticated, "TOKEN_EXPIRED"),
        (TokenError::Unavailable, Code::Unavailable, "UNAVAILABLE"),
    ] {
        let status = Status::from(error);
        assert_eq!((status.code(), crate::status::reason_of(&status).as_deref()), (code, Some(reason)));
    }
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let mut request = tonic::Request::new(());
    bearer(&mut request, "canary").unwrap();
    let signer = signer("k1");
    let text = format!("{request:?} {signer:?}");
    assert!(!text.contains("canary") && text.contains("k1") && text.len() < 500, "{text}");
    assert!(bearer(&mut request, "line\nbreak").is_err());
}
