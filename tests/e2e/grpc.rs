//! gRPC and gRPC-Web at the address of the gateway: what is public works as at the services themselves, and nothing else is
//! there.

mod by_hand;

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use futures::StreamExt;
use harness::{
    Command, Content, Options, Persona, Server, Service, Shape, both_shapes, eventually,
    grpc::{call, connect, methods, refused, signed},
    raw,
};
use holdall_proto::{
    auth::v1::{
        CreateSessionRequest, GetAccountRequest, ListKeysRequest, RegisterRequest, RevokeSessionRequest,
        account_service_client::AccountServiceClient, key_service_client::KeyServiceClient,
        session_service_client::SessionServiceClient,
    },
    blob::v1::{
        ReadRequest, WriteFinish, WriteHeader, WriteRequest, blob_service_client::BlobServiceClient,
        write_request::Part,
    },
    metadata::v1::{
        BeginUploadRequest, CommitUploadRequest, GetSpaceRequest, ListChildrenRequest, NodeRef,
        OpenContentRequest, OpenLinkRequest, UploadTarget, content_service_client::ContentServiceClient,
        link_service_client::LinkServiceClient, node_ref::Ref, node_service_client::NodeServiceClient,
        space_service_client::SpaceServiceClient, upload_target::Target,
    },
};
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use uuid::Uuid;

both_shapes!(
    from_registering_to_a_list,
    health_is_told,
    what_is_public_describes_itself,
    what_is_not_public_does_not_exist,
    a_session_that_has_ended_is_refused,
    long_messages_are_refused,
    a_deadline_is_kept,
);

/// What a stranger finds, in the order of the alphabet.
const SERVICES: [&str; 13] = [
    "grpc.health.v1.Health",
    "holdall.auth.v1.AccountService",
    "holdall.auth.v1.KeyService",
    "holdall.auth.v1.SessionService",
    "holdall.blob.v1.AdminService",
    "holdall.blob.v1.BlobService",
    "holdall.metadata.v1.AdminService",
    "holdall.metadata.v1.BufferService",
    "holdall.metadata.v1.ChangeService",
    "holdall.metadata.v1.ContentService",
    "holdall.metadata.v1.LinkService",
    "holdall.metadata.v1.NodeService",
    "holdall.metadata.v1.SpaceService",
];

/// In a service that is public, and yet not.
const CLOSED: &str = "/holdall.auth.v1.AccountService/GetImportedCredential";

const GET_SPACE: &str = "/holdall.metadata.v1.SpaceService/GetSpace";

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).expect("a short message").to_be_bytes());
    framed.extend(message);
    framed
}

/// The parts of a gRPC-Web answer: the first message, and the trailers as text.
fn unframed(mut body: &[u8]) -> (Vec<u8>, String) {
    let (mut message, mut trailers) = (Vec::new(), String::new());
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (part, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        match flag {
            0 => message = part.to_vec(),
            _ => trailers = String::from_utf8(part.to_vec()).expect("trailers are text"),
        }
        body = rest;
    }
    (message, trailers)
}

fn is_public(path: &str) -> bool {
    path != CLOSED && SERVICES.iter().any(|service| path.starts_with(&format!("/{service}/")))
}

fn path(path: &str) -> Option<NodeRef> {
    Some(NodeRef { r#ref: Some(Ref::Path(path.to_owned())) })
}

/// Goes the whole way of an upload.
async fn upload(channel: &Channel, credential: &str, name: &str, content: &Content) {
    let size = Some(content.len());
    let target = Some(UploadTarget { target: Some(Target::Path(name.to_owned())), keep_both: false });
    let mut metadata = ContentServiceClient::new(channel.clone());
    let begin = BeginUploadRequest { target: target.clone(), size, precondition: None };
    let grant = metadata.begin_upload(signed(credential, begin)).await.unwrap().into_inner().write_grant;
    let header = tokio_stream::once(Part::Header(WriteHeader { grant, size }));
    let data = content.stream().map(|piece| Part::Data(piece.expect("content is made")));
    let finish = tokio_stream::once(Part::Finish(WriteFinish { size: content.len(), digest: Bytes::new() }));
    let messages = header.chain(data).chain(finish).map(|part| WriteRequest { part: Some(part) });
    let written = BlobServiceClient::new(channel.clone()).write(signed(credential, messages)).await.unwrap();
    let commit = CommitUploadRequest {
        receipt: written.into_inner().receipt,
        target,
        ..CommitUploadRequest::default()
    };
    assert!(metadata.commit_upload(signed(credential, commit)).await.unwrap().into_inner().created);
}

/// Reads a file, and gives its digest.
async fn download(channel: &Channel, credential: &str, name: &str) -> String {
    let open = OpenContentRequest { r#ref: path(name), version_id: String::new() };
    let mut metadata = ContentServiceClient::new(channel.clone());
    let opened = metadata.open_content(signed(credential, open)).await.unwrap().into_inner();
    let read = ReadRequest { grant: opened.read_grant, offset: 0, length: 0 };
    let mut messages =
        BlobServiceClient::new(channel.clone()).read(signed(credential, read)).await.unwrap().into_inner();
    let mut hasher = blake3::Hasher::new();
    while let Some(message) = messages.message().await.unwrap() {
        hasher.update(&message.data);
    }
    hasher.finalize().to_hex().to_string()
}

async fn from_registering_to_a_list(server: &Server) {
    let channel = connect(&server.url()).await;
    let username = format!("grpc-{}", Uuid::now_v7().simple().to_string().split_off(20));
    let password = "correct horse battery".to_owned();
    let register = RegisterRequest {
        username: username.clone(),
        password: password.clone(),
        ..RegisterRequest::default()
    };
    let account = AccountServiceClient::new(channel.clone()).register(register).await.unwrap().into_inner();
    let account = account.account.unwrap();
    assert_eq!(account.username, username);
    let sign_in = CreateSessionRequest { login: username, password, ..CreateSessionRequest::default() };
    let session =
        SessionServiceClient::new(channel.clone()).create_session(sign_in).await.unwrap().into_inner();
    let token = session.access_token.unwrap().token;

    let content = Content::new("grpc", 3_000_000);
    for (credential, name) in [(&session.handle, "handle"), (&token, "token")] {
        upload(&channel, credential, name, &content).await;
        assert_eq!(download(&channel, credential, name).await, content.digest());
        let mut accounts = AccountServiceClient::new(channel.clone());
        let own = accounts.get_account(signed(credential, GetAccountRequest {})).await.unwrap().into_inner();
        assert_eq!(own.account.as_ref(), Some(&account));
    }
    let list = ListChildrenRequest { folder: path(""), ..ListChildrenRequest::default() };
    let list = NodeServiceClient::new(channel.clone()).list_children(signed(&session.handle, list)).await;
    let names: Vec<_> = list.unwrap().into_inner().children.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["handle", "token"]);
    // The keys to check tokens with.
    let keys = KeyServiceClient::new(channel).list_keys(ListKeysRequest {}).await.unwrap().into_inner();
    assert!(!keys.keys.is_empty());
}

async fn health_is_told(server: &Server) {
    let mut health = HealthClient::new(connect(&server.url()).await);
    for service in SERVICES.into_iter().chain([""]) {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    for service in ["holdall.metadata.v1.RootsService", "nothing"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound, "{service}");
    }
    let watch = health.watch(HealthCheckRequest::default()).await;
    assert_eq!(watch.unwrap_err().code(), Code::Unimplemented);
}

async fn what_is_public_describes_itself(server: &Server) {
    use tonic_reflection::pb::{v1, v1alpha};
    let channel = connect(&server.url()).await;

    use v1::{server_reflection_request::MessageRequest, server_reflection_response::MessageResponse};
    let mut reflection = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut ask = async |request: MessageRequest| {
        let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let mut answers =
            reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        answers.message().await.map(|answer| answer.unwrap().message_response.unwrap())
    };
    let Ok(MessageResponse::ListServicesResponse(list)) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("services are not listed");
    };
    let mut listed: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    listed.sort();
    let mut expected = SERVICES.to_vec();
    expected.insert(1, "grpc.reflection.v1.ServerReflection");
    assert_eq!(listed, expected);
    for symbol in SERVICES.into_iter().chain(["holdall.metadata.v1.Node", "google.protobuf.Timestamp"]) {
        let found = ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        assert!(matches!(found, Ok(MessageResponse::FileDescriptorResponse(_))), "{symbol}: {found:?}");
    }
    for symbol in
        ["holdall.metadata.v1.RootsService", "holdall.auth.v1.DelegationService", "holdall.blob.v1.ReadGrant"]
    {
        let found = ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        assert_eq!(found.map_err(|status| status.code()), Err(Code::NotFound), "{symbol}");
    }

    use v1alpha::{
        server_reflection_request::MessageRequest as Older,
        server_reflection_response::MessageResponse as Told,
    };
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(Older::ListServices(String::new())),
    };
    let mut older = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let answers = older.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap().message_response;
    let Some(Told::ListServicesResponse(list)) = answer else { panic!("services are not listed") };
    assert_eq!(list.service.len(), SERVICES.len() + 1);
}

async fn what_is_not_public_does_not_exist(server: &Server) {
    let channel = connect(&server.url()).await;
    let token = server.persona("alice").await.access_token().await;
    let nothing = call(&channel, "/holdall.auth.v1.AccountService/Nothing", None, "").await.unwrap_err();
    assert_eq!(nothing.code(), Code::Unimplemented);
    let mut closed = 0;
    for path in methods()
        .into_iter()
        .chain(["/holdall.x.v1.Y/Z".to_owned(), "/grpc.channelz.v1.Channelz/GetServers".to_owned()])
    {
        for credential in [None, Some(token.as_str())] {
            let status = match call(&channel, &path, credential, "").await {
                Err(status) => status,
                Ok(_) => Status::ok(""),
            };
            let is_like_nothing = (status.code(), status.message(), status.details())
                == (nothing.code(), nothing.message(), nothing.details());
            assert_eq!(is_like_nothing, !is_public(&path), "{path}: {status:?}");
            closed += usize::from(is_like_nothing);
        }
    }
    assert_eq!(
        closed,
        2 * (3 + 1 + 1 + 1 + 2),
        "RootsService, FreshnessService, DelegationService, {CLOSED}, and those that were made up"
    );
}

/// Signs in once more, and gives the new handle.
async fn handle(person: &Persona) -> String {
    let session: serde_json::Value = person.sign_in().await.expect(201).json();
    session["token"].as_str().expect("a session has a token").to_owned()
}

async fn a_session_that_has_ended_is_refused(server: &Server) {
    let channel = connect(&server.url()).await;
    let alice = server.persona("alice").await;
    let handle = handle(&alice).await;
    let mut spaces = SpaceServiceClient::new(channel.clone());
    spaces.get_space(signed(&handle, GetSpaceRequest {})).await.unwrap();
    refused(spaces.get_space(GetSpaceRequest {}).await, Code::Unauthenticated, "TOKEN_MISSING");

    let mut sessions = SessionServiceClient::new(channel.clone());
    sessions.revoke_session(signed(&handle, RevokeSessionRequest::default())).await.unwrap();
    // Replicas may remember it for five seconds.
    let refusal = eventually("the session has ended", async || {
        // Each time from another of them.
        for _ in 0..12 {
            spaces.get_space(signed(&handle, GetSpaceRequest {})).await.err()?;
        }
        Some(spaces.get_space(signed(&handle, GetSpaceRequest {})).await)
    })
    .await;
    refused(refusal, Code::Unauthenticated, "SESSION_INVALID");
    for nonsense in ["x", "hs_x", "a.b.c", &"x".repeat(5000)] {
        let refusal = spaces.get_space(signed(nonsense, GetSpaceRequest {})).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal:?}");
    }
    // What needs no session needs no live one.
    let sign_in = CreateSessionRequest {
        login: alice.username.clone(),
        password: alice.password.clone(),
        ..CreateSessionRequest::default()
    };
    sessions.create_session(signed(&handle, sign_in)).await.unwrap();
    KeyServiceClient::new(channel).list_keys(signed(&handle, ListKeysRequest {})).await.unwrap();
}

async fn long_messages_are_refused(server: &Server) {
    let channel = connect(&server.url()).await;
    let token = server.persona("alice").await.access_token().await;
    for (path, most) in [
        ("/holdall.auth.v1.AccountService/Register", 64 << 10),
        ("/holdall.metadata.v1.NodeService/GetNode", 64 << 10),
        ("/holdall.blob.v1.BlobService/Write", 512 << 10),
    ] {
        for length in [most + 1, 5 << 20] {
            let long = call(&channel, path, Some(&token), vec![0; length]).await;
            refused(long, Code::ResourceExhausted, "TOO_LARGE");
        }
        let longest = call(&channel, path, Some(&token), vec![0; most]).await.unwrap_err();
        assert_eq!(longest.code(), Code::InvalidArgument, "{path}: {longest:?}");
    }
}

async fn a_deadline_is_kept(server: &Server) {
    let alice = server.persona("alice").await;
    // By hand: clients keep their deadlines too.
    let ends = async |limit: &str| {
        let limit = format!("grpc-timeout: {limit}");
        let headers = ["content-type: application/grpc-web", "content-length: 5", &limit];
        let answer = raw::exchange(&alice, &format!("POST {GET_SPACE}"), &headers, &framed(b"")).await;
        let answer = answer.expect("an answer");
        answer.maybe_header("grpc-status").map_or_else(|| unframed(&answer.body).1, str::to_owned)
    };
    assert_eq!(ends("1n").await, "4");
    for limit in ["10S", "99999999H", "nonsense"] {
        assert!(ends(limit).await.contains("grpc-status:0"), "{limit}");
    }
}

/// Where the gateway serves TLS, gRPC comes over it like everything else.
#[tokio::test]
async fn it_comes_over_tls_too() {
    // Somebody else may have chosen one already: any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = |label: &str, der: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
    };
    let certificate = pem("CERTIFICATE", made.cert.der());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let cert_file = file("cert.pem", &certificate);
    let key_file = file("key.pem", &pem("PRIVATE KEY", &made.signing_key.serialize_der()));
    let config =
        file("config.toml", &format!("[server.tls]\ncert_file = {cert_file:?}\nkey_file = {key_file:?}\n"));
    let gateway = Command::new(Service::Gateway.program()).arg("--config").path(&config).arg("--listen");
    let gateway = gateway.arg("127.0.0.1:0").arg("--data-dir").path(&folder.path().join("data")).start();
    let address = eventually("it listens", async || {
        assert!(gateway.try_exit().is_none(), "it ended:\n{}", gateway.log());
        gateway
            .log()
            .lines()
            .find_map(|line| Some(line.split_once(" listening on https://")?.1.trim().to_owned()))
    })
    .await;
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&certificate)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
}

/// Limits count by the address that the gateway saw, whatever a client says of itself.
#[tokio::test]
async fn nobody_tries_without_end() {
    let options = Options::new().set(Service::Auth, "rate_limits.enabled", "true").set(
        Service::Auth,
        "rate_limits.registrations_per_source",
        "4",
    );
    let server = Server::start_with(Shape::OneProcess, options).await;
    let _log = server.log_on_failure();
    let mut accounts = AccountServiceClient::new(connect(&server.url()).await);
    let mut answers = Vec::new();
    for number in 0..10 {
        let register = RegisterRequest {
            username: format!("somebody {number}"),
            password: "correct horse battery".to_owned(),
            client_address: format!("192.0.2.{number}"),
            ..RegisterRequest::default()
        };
        let mut request = Request::new(register);
        request.metadata_mut().insert("x-forwarded-for", format!("198.51.100.{number}").parse().unwrap());
        answers.push(accounts.register(request).await);
    }
    assert!(answers[0].is_ok(), "{:?}", answers[0]);
    refused(answers.pop().unwrap(), Code::ResourceExhausted, "RATE_LIMITED");

    // Secrets of links are found by trying, if anybody may try for ever.
    let mut links = LinkServiceClient::new(connect(&server.url()).await);
    let mut tried = 0;
    let refusal = loop {
        let guess = OpenLinkRequest { slug: format!("guess{tried}"), ..OpenLinkRequest::default() };
        let status = links.open_link(guess).await.unwrap_err();
        if status.code() != Code::NotFound {
            break status;
        }
        tried += 1;
        assert!(tried <= 300, "guessed {tried} times");
    };
    assert_eq!(tried, 300);
    refused(Err::<(), _>(refusal), Code::ResourceExhausted, "RATE_LIMITED");
}

/// Content goes through without being kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_take_no_memory() {
    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 128 * MIB;
    let small = [
        ("uploads.memory", "16MiB"),
        ("uploads.small_memory", "4MiB"),
        ("downloads.memory", "16MiB"),
        ("downloads.content_cache", "4MiB"),
        ("downloads.manifest_cache", "4MiB"),
    ];
    let options = small
        .iter()
        .fold(Options::new(), |options, (key, size)| options.set(Service::Blob, key, &format!("{size:?}")));
    let server = Server::start_with(Shape::OneProcess, options).await;
    let _log = server.log_on_failure();
    let alice = server.persona("large").await;
    let channel = connect(&server.url()).await;
    let process = server.process(Service::Gateway);
    let memory = || process.memory().expect("tests of memory need /proc");
    let handle = alice.bearer().unwrap();
    // Pools and caches take what they keep.
    upload(&channel, handle, "first", &Content::new("first", SIZE)).await;
    download(&channel, handle, "first").await;
    let before = memory();
    let content = Content::new("second", SIZE);
    let trip = async {
        upload(&channel, handle, "second", &content).await;
        assert_eq!(download(&channel, handle, "second").await, content.digest());
    };
    tokio::pin!(trip);
    let mut most = before;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            () = &mut trip => break,
            _ = ticks.tick() => most = most.max(memory()),
        }
    }
    assert!(most < before + SIZE / 2, "from {} MiB to {} MiB", before / MIB, most / MIB);
}
