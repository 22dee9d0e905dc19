//! Messages that are put together byte by byte: gRPC-Web, and what is no message at all.

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use harness::{
    Answer, Seed, Server, both_shapes,
    grpc::{connect, methods, signed},
    raw,
};
use holdall_proto::metadata::v1::{
    GetSpaceRequest, GetSpaceResponse, space_service_client::SpaceServiceClient,
};
use prost::Message;
use tonic::{Code, Status, transport::Channel};
use tower::ServiceExt;

use super::{GET_SPACE, framed, is_public, unframed};

both_shapes!(a_page_of_another_site_calls, garbage_is_nobodys_defect_but_its_senders);

async fn a_page_of_another_site_calls(server: &Server) {
    let alice = server.persona("alice").await;
    let ask = async |api: &harness::Api, kind: &str, body: Vec<u8>| -> Answer {
        let kind = format!("content-type: {kind}");
        let length = format!("content-length: {}", body.len());
        let headers = [&*kind, &length, "origin: https://elsewhere.example"];
        raw::exchange(api, &format!("POST {GET_SPACE}"), &headers, &body).await.expect("an answer")
    };
    let is_open = |answer: &Answer| {
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-expose-headers"], "*");
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    };
    for kind in ["application/grpc-web+proto", "application/grpc-web"] {
        let answer = ask(&alice, kind, framed(b"")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "application/grpc-web+proto")
        );
        is_open(&answer);
        let (message, trailers) = unframed(&answer.body);
        let space = GetSpaceResponse::decode(&*message).unwrap().space.unwrap();
        assert_eq!(space.owner_account_id, alice.account_id);
        assert!(trailers.contains("grpc-status:0"), "{trailers}");
    }
    let text = "application/grpc-web-text";
    let answer = ask(&alice, text, BASE64.encode(framed(b"")).into_bytes()).await;
    assert_eq!(answer.header("content-type"), "application/grpc-web-text+proto");
    is_open(&answer);
    // Message and trailers are encoded each for itself.
    let encoded = answer.text();
    let parts = encoded.split_inclusive('=').collect::<String>();
    let mut decoded = Vec::new();
    let mut rest = parts.as_str();
    while !rest.is_empty() {
        let end = rest
            .find('=')
            .map_or(rest.len(), |at| at + rest[at..].bytes().take_while(|b| *b == b'=').count());
        let (part, more) = rest.split_at(end);
        decoded.extend(BASE64.decode(part).unwrap());
        rest = more;
    }
    let (message, trailers) = unframed(&decoded);
    assert!(GetSpaceResponse::decode(&*message).is_ok() && trailers.contains("grpc-status:0"), "{trailers}");

    // Refusals are told so that a page can read them.
    for (kind, body) in
        [("application/grpc-web", framed(b"")), (text, BASE64.encode(framed(b"")).into_bytes())]
    {
        let answer = ask(&alice.anonymous(), kind, body).await;
        assert_eq!(answer.header("grpc-status"), "16", "{:?}", answer.headers);
        is_open(&answer);
    }
    for (kind, body) in
        [(text, b"AAAAA".to_vec()), (text, b"!!!!".to_vec()), ("application/grpc-web", vec![0, 0])]
    {
        let answer = ask(&alice, kind, body).await;
        assert_eq!(answer.header("grpc-status"), "3", "{:?}", answer.headers);
    }
    // A cookie is nobody's credential here.
    let cookie = format!("cookie: holdall_session={0}; session={0}", alice.bearer().unwrap());
    let headers = ["content-type: application/grpc-web", "content-length: 5", &cookie];
    let answer =
        raw::exchange(&alice.anonymous(), &format!("POST {GET_SPACE}"), &headers, &framed(b"")).await;
    assert_eq!(answer.unwrap().header("grpc-status"), "16");

    // What a browser asks before.
    let headers = [
        "origin: https://elsewhere.example",
        "access-control-request-method: POST",
        "access-control-request-headers: authorization,content-type,x-grpc-web",
    ];
    let answer =
        raw::exchange(&alice.anonymous(), &format!("OPTIONS {GET_SPACE}"), &headers, b"").await.unwrap();
    assert_eq!(answer.status, 204);
    assert!(answer.headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    is_open(&answer);

    // gRPC itself needs HTTP/2, and other content is for somebody else.
    for (method, kind, status) in [
        ("POST", "application/grpc", 200),
        ("POST", "application/json", 415),
        ("POST", "application/grpc+json", 415),
        ("GET", "application/grpc", 405),
    ] {
        let kind = format!("content-type: {kind}");
        let answer =
            raw::exchange(&alice, &format!("{method} {GET_SPACE}"), &[&kind, "content-length: 0"], b"").await;
        let answer = answer.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (status, "3"), "{method} {kind}");
    }
}

/// Sends bytes as the messages of a call, and tells the code that it ends with; `None` for an answer that is no gRPC.
async fn send(
    channel: &Channel,
    path: &str,
    kind: &str,
    token: Option<&str>,
    bytes: Vec<u8>,
) -> Option<Code> {
    let body = tonic::body::Body::new(http_body_util::Full::new(Bytes::from(bytes)));
    let mut request =
        http::Request::post(path).header("content-type", kind).header("te", "trailers").body(body).ok()?;
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let answer = channel.clone().oneshot(request).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
    assert!(!answer.status().is_server_error(), "{path}: {answer:?}");
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Some(status.code());
    }
    let mut body = answer.into_body();
    loop {
        let frame = http_body_util::BodyExt::frame(&mut body).await?;
        let frame = frame.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
            return Some(status.code());
        }
    }
}

async fn garbage_is_nobodys_defect_but_its_senders(server: &Server) {
    let channel = connect(&server.url()).await;
    let alice = server.persona("alice").await;
    let token = alice.bearer().unwrap();
    let is_fine = |code: Option<Code>| !matches!(code, Some(Code::Internal | Code::Unknown | Code::DataLoss));

    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let paths: Vec<String> = methods()
        .into_iter()
        .filter(|path| is_public(path))
        .chain([reflection.to_owned(), "/grpc.health.v1.Health/Check".to_owned()])
        .collect();
    for path in &paths {
        for bytes in
            [framed(b"\xff\xff\xff"), vec![], vec![0], vec![1, 0, 0, 0, 0], framed(b"\x0a")[..5].to_vec()]
        {
            for token in [None, Some(token)] {
                let code = send(&channel, path, "application/grpc", token, bytes.clone()).await;
                assert!(code.is_some_and(|code| is_fine(Some(code))), "{path} {bytes:?}: {code:?}");
            }
        }
    }
    let mut seed = Seed::new("garbage");
    let kinds = [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc-web",
        "application/grpc-web-text",
        "application/grpc+x",
        "application/grpc; a=b",
        "text/plain",
        "",
    ];
    let odd = [
        "/holdall.",
        "/holdall./",
        "/grpc./x/y",
        "/holdall.auth.v1.AccountService",
        "/holdall.auth.v1.AccountService/",
        "/holdall.auth.v1.AccountService/Register/x",
        "/holdall.auth.v1.AccountService/%52egister",
        "//holdall.x/y",
        "/holdall.auth.v1.AccountService/Register?x=y",
    ];
    for _ in 0..400 {
        let path = if seed.below(8) == 0 { (*seed.pick(&odd)).to_owned() } else { seed.pick(&paths).clone() };
        let mut bytes: Vec<u8> =
            (0..seed.below(200)).map(|_| u8::try_from(seed.below(256)).unwrap()).collect();
        if seed.below(2) == 0 {
            bytes = framed(&bytes);
        }
        let kind = *seed.pick(&kinds);
        let token = (seed.below(2) == 0).then_some(token);
        let code = send(&channel, &path, kind, token, bytes.clone()).await;
        assert!(is_fine(code), "{path} {kind} {bytes:?}: {code:?}");
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
    SpaceServiceClient::new(channel).get_space(signed(token, GetSpaceRequest {})).await.unwrap();
}
