//! Who gets in.

use holdall_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tower::{Service as _, ServiceExt as _};

use super::*;
use crate::PUBLIC;

/// Every method of this service's contract.
fn methods() -> Vec<String> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let ours = files.iter().filter(|file| file.package() == "holdall.auth.v1");
    ours.flat_map(|file| &file.service)
        .flat_map(|service| {
            let prefix = format!("/holdall.auth.v1.{}/", service.name());
            service.method.iter().map(move |method| format!("{prefix}{}", method.name()))
        })
        .collect()
}

/// Calls a method with an empty message.
async fn call(auth: &Auth, method: &str, authorization: Option<&str>) -> Option<String> {
    let body = http_body_util::Full::new(bytes::Bytes::from_static(&[0, 0, 0, 0, 0]));
    let mut request = http::Request::post(format!("http://auth{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(tonic::body::Body::new(body)).unwrap();
    let answer = auth.upstream.clone().ready().await.unwrap().call(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let trailers = http_body_util::BodyExt::collect(body).await.unwrap().trailers().cloned();
    let status = Status::from_header_map(&trailers.unwrap_or(head.headers)).unwrap();
    reason_of(&status)
}

#[tokio::test]
async fn a_method_works_without_a_token_only_when_it_is_public() {
    let auth = Auth::start().await;
    let methods = methods();
    assert!(methods.len() >= 12, "{methods:?}");
    let (public, others): (Vec<_>, Vec<_>) =
        methods.iter().map(String::as_str).partition(|method| PUBLIC.contains(method));
    assert_eq!(
        public,
        [
            "/holdall.auth.v1.AccountService/Register",
            "/holdall.auth.v1.SessionService/CreateSession",
            "/holdall.auth.v1.SessionService/ExchangeSession",
            "/holdall.auth.v1.SessionService/RotateSession",
            "/holdall.auth.v1.KeyService/ListKeys",
            "/holdall.auth.v1.DelegationService/ActFor",
        ]
    );
    for method in others {
        assert_eq!(call(&auth, method, None).await.as_deref(), Some("TOKEN_MISSING"), "{method}");
        for token in ["Bearer ", "Bearer x.y.z", "Basic YTpi"] {
            let reason = call(&auth, method, Some(token)).await;
            assert_eq!(reason.as_deref(), Some("TOKEN_INVALID"), "{method} {token}");
        }
    }
    for (method, reason) in [
        ("/holdall.auth.v1.AccountService/Register", Some("INVALID_ACCOUNT")),
        ("/holdall.auth.v1.SessionService/CreateSession", Some("WRONG_CREDENTIALS")),
        ("/holdall.auth.v1.SessionService/ExchangeSession", Some("SESSION_INVALID")),
        ("/holdall.auth.v1.SessionService/RotateSession", Some("SESSION_INVALID")),
        ("/holdall.auth.v1.KeyService/ListKeys", None),
        ("/holdall.auth.v1.DelegationService/ActFor", Some("GRANT_INVALID")),
    ] {
        assert_eq!(call(&auth, method, None).await.as_deref(), reason, "{method}");
    }
}
