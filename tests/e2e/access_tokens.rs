//! Access tokens work at every service directly, and nothing but a good one does.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use harness::{
    Persona, Server, Service, Shape,
    grpc::{connect, refused, signed},
    shared,
};
use holdall_proto::metadata::v1::{GetSpaceRequest, space_service_client::SpaceServiceClient};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};

/// The key that auth signs with, from the directory that its replicas share, and the key's id.
fn signing_key(server: &Server, token: &str) -> (Ed25519KeyPair, String) {
    let folder = server.folder().join("signing");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let key = std::fs::read(&files[0]).unwrap();
    let header = token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&BASE64.decode(header).unwrap()).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    (Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key).unwrap(), header["kid"].as_str().unwrap().to_owned())
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: &Value| BASE64.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    format!("{signed}.{}", BASE64.encode(sign(signed.as_bytes())))
}

struct Setting {
    alice: Persona,
    client: SpaceServiceClient<Channel>,
    token: String,
    key: Ed25519KeyPair,
    header: Value,
}

async fn setting(server: &Server) -> Setting {
    let alice = server.persona("alice").await;
    let token = alice.access_token().await;
    let client = SpaceServiceClient::new(connect(server.address(Service::Metadata)).await);
    let (key, kid) = signing_key(server, &token);
    let header = json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"});
    Setting { alice, client, token, key, header }
}

impl Setting {
    fn sign(&self, header: &Value, claims: &Value) -> String {
        token(header, claims, |bytes| self.key.sign(bytes).as_ref().to_vec())
    }

    async fn call(&self, token: &str) -> Result<String, tonic::Status> {
        let answer = self.client.clone().get_space(signed(token, GetSpaceRequest {})).await?;
        Ok(answer.into_inner().space.unwrap_or_default().owner_account_id)
    }
}

#[tokio::test]
async fn a_good_token_works_directly() {
    let server = shared(Shape::EightProcesses).await;
    let _log = server.log_on_failure();
    let setting = setting(server).await;
    assert_eq!(setting.call(&setting.token).await.unwrap(), setting.alice.account_id);
    // So does one that this test signs with auth's key: what is refused below is refused for its content.
    let again = setting.sign(&setting.header, &claims(&setting.token));
    assert_eq!(setting.call(&again).await.unwrap(), setting.alice.account_id);
}

#[tokio::test]
async fn a_token_of_another_making_does_not() {
    let server = shared(Shape::EightProcesses).await;
    let _log = server.log_on_failure();
    let setting = setting(server).await;
    let good = claims(&setting.token);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let header = |name: &str, value: Value| {
        let mut header = setting.header.clone();
        header[name] = value;
        header
    };
    let own = |claims: &Value| setting.sign(&setting.header, claims);
    let other = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, setting.key.public_key().as_ref());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

    let expired = own(&with("exp", json!(now - 60)));
    refused(setting.call(&expired).await, Code::Unauthenticated, "TOKEN_EXPIRED");

    let parts: Vec<&str> = setting.token.split('.').collect();
    let mut other_subject = good.clone();
    other_subject["sub"] = json!(uuid::Uuid::now_v7().to_string());
    let payload = BASE64.encode(other_subject.to_string());
    for (what, forged) in [
        (
            "no signature, alg none",
            token(&json!({"alg": "none", "kid": setting.header["kid"]}), &good, |_| Vec::new()),
        ),
        ("alg None", token(&header("alg", json!("None")), &good, |_| Vec::new())),
        (
            "HMAC with the public key",
            token(&header("alg", json!("HS256")), &good, |bytes| {
                ring::hmac::sign(&hmac, bytes).as_ref().to_vec()
            }),
        ),
        ("another key", token(&setting.header, &good, |bytes| other.sign(bytes).as_ref().to_vec())),
        ("an unknown key id", setting.sign(&header("kid", json!("0000000000000000")), &good)),
        ("a path as key id", setting.sign(&header("kid", json!("../../keys/x")), &good)),
        ("no key id", setting.sign(&json!({"alg": "EdDSA"}), &good)),
        (
            "a key of its own",
            setting.sign(
                &header(
                    "jwk",
                    json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(other.public_key().as_ref())}),
                ),
                &good,
            ),
        ),
        ("a critical extension", setting.sign(&header("crit", json!(["x"])), &good)),
        ("another audience", own(&with("aud", json!("somebody")))),
        ("no audience", own(&without("aud"))),
        ("another issuer", own(&with("iss", json!("somebody")))),
        ("no issuer", own(&without("iss"))),
        ("no expiry", own(&without("exp"))),
        ("text as expiry", own(&with("exp", json!((now + 60).to_string())))),
        ("no subject", own(&without("sub"))),
        ("a subject that is no id", own(&with("sub", json!("root")))),
        ("another subject", format!("{}.{payload}.{}", parts[0], parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{}.x", setting.token)),
        ("nonsense", "x".to_owned()),
        ("very long", "x".repeat(6000)),
        ("a session handle", setting.alice.bearer().unwrap().to_owned()),
    ] {
        let result = setting.call(&forged).await;
        assert!(result.is_err(), "{what} was taken");
        refused(result, Code::Unauthenticated, "TOKEN_INVALID");
    }
}

#[tokio::test]
async fn a_token_ends_with_its_session() {
    let server = shared(Shape::EightProcesses).await;
    let setting = setting(server).await;
    setting.alice.delete("/sessions/current").send().await.expect(204);
    // No new token comes from it, and auth itself refuses the old one at once. The other services know in minutes.
    setting.alice.post("/sessions/refresh").send().await.problem(401, "unauthenticated");
    let channel = connect(server.address(Service::Auth)).await;
    let mut accounts = holdall_proto::auth::v1::account_service_client::AccountServiceClient::new(channel);
    let request = signed(&setting.token, holdall_proto::auth::v1::GetAccountRequest {});
    let status = accounts.get_account(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
}
