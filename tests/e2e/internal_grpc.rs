//! The services' own ports: everything is refused without a valid token, unless it is public by design.

use bytes::Bytes;
use harness::{
    Service, Shape,
    grpc::{self, call},
    shared,
};
use holdall_proto::{
    blob::v1::{
        JobKind, ListJobsRequest, ReadRequest, StartJobRequest, StopJobRequest, WatchJobsRequest,
        WriteFinish, WriteHeader, WriteRequest, admin_service_client as blob,
        blob_service_client::BlobServiceClient, write_request::Part,
    },
    metadata::v1::{CreateAdminGrantRequest, admin_service_client as metadata},
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

/// Methods that need no access token: they are how one gets there, or have a proof of their own.
const PUBLIC: [&str; 27] = [
    "/holdall.auth.v1.AccountService/Register",
    "/holdall.auth.v1.SessionService/CreateSession",
    "/holdall.auth.v1.SessionService/ExchangeSession",
    "/holdall.auth.v1.SessionService/RotateSession",
    "/holdall.auth.v1.DelegationService/ActFor",
    "/holdall.auth.v1.KeyService/ListKeys",
    "/holdall.metadata.v1.LinkService/OpenLink",
    "/holdall.metadata.v1.LinkService/DeleteByLink",
    "/holdall.metadata.v1.RootsService/ListReleased",
    "/holdall.metadata.v1.RootsService/AcknowledgeReleased",
    "/holdall.metadata.v1.RootsService/CheckLive",
    "/holdall.metadata.v1.FreshnessService/CheckCurrent",
    "/holdall.blob.v1.BlobService/Write",
    "/holdall.blob.v1.BlobService/Read",
    "/holdall.blob.v1.BlobService/WriteBatch",
    "/holdall.blob.v1.BlobService/StartUpload",
    "/holdall.blob.v1.BlobService/GetUpload",
    "/holdall.blob.v1.BlobService/TakeOverUpload",
    "/holdall.blob.v1.BlobService/WriteAt",
    "/holdall.blob.v1.BlobService/FinishUpload",
    "/holdall.blob.v1.BlobService/AbortUpload",
    "/holdall.blob.v1.BlobService/GetChunking",
    "/holdall.blob.v1.BlobService/WriteDelta",
    "/holdall.blob.v1.AdminService/ListJobs",
    "/holdall.blob.v1.AdminService/StartJob",
    "/holdall.blob.v1.AdminService/StopJob",
    "/holdall.blob.v1.AdminService/WatchJobs",
];

/// All methods of the contract that a service serves, as paths.
fn methods(service: Service) -> Vec<String> {
    let package = format!("/holdall.{}.v1.", service.name());
    grpc::methods().into_iter().filter(|path| path.starts_with(&package)).collect()
}

const SERVICES: [Service; 3] = [Service::Auth, Service::Metadata, Service::Blob];

#[tokio::test]
async fn nothing_is_answered_without_a_token() {
    let server = shared(Shape::EightProcesses).await;
    let _log = server.log_on_failure();
    let mut refused = 0;
    for service in SERVICES {
        let channel = grpc::connect(server.address(service)).await;
        for path in methods(service).into_iter().filter(|path| !PUBLIC.contains(&path.as_str())) {
            for (token, reason) in [(None, "TOKEN_MISSING"), (Some("x.y.z"), "TOKEN_INVALID")] {
                // Whatever the message: who asks comes first.
                for message in [&b""[..], b"\xff\xff\xff"] {
                    let result = call(&channel, &path, token, message).await;
                    grpc::refused(result, Code::Unauthenticated, reason);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 4 * 20, "only {refused} calls were made");
    for path in PUBLIC {
        assert!(
            SERVICES.iter().any(|service| methods(*service).iter().any(|known| known == path)),
            "{path} is gone"
        );
    }
}

#[tokio::test]
async fn health_and_reflection_are_public() {
    let server = shared(Shape::EightProcesses).await;
    for service in SERVICES {
        let channel = grpc::connect(server.address(service)).await;
        let answer = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service:?}");

        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut reflection = ServerReflectionClient::new(channel);
        let answers = reflection.server_reflection_info(tokio_stream::iter([ask])).await.unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) =
            answers.into_inner().message().await.unwrap().unwrap().message_response
        else {
            panic!("{service:?} does not list its services");
        };
        let listed: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        for path in methods(service) {
            let name = path.split('/').nth(1).unwrap().to_owned();
            assert!(listed.contains(&name), "{service:?} lists {listed:?}");
        }
    }
}

#[tokio::test]
async fn blob_wants_a_grant() {
    let server = shared(Shape::EightProcesses).await;
    let _log = server.log_on_failure();
    let alice = server.persona("alice").await;
    let token = alice.access_token().await;
    let mut blob = BlobServiceClient::new(grpc::connect(server.address(Service::Blob)).await);
    for grant in
        [Bytes::new(), Bytes::from_static(b"x"), Bytes::from(vec![1; 100]), Bytes::from(vec![7; 5000])]
    {
        // An access token is no grant.
        let read = ReadRequest { grant: grant.clone(), offset: 0, length: 0 };
        let result = match blob.read(grpc::signed(&token, read)).await {
            Ok(stream) => stream.into_inner().message().await.map(|_| ()),
            Err(status) => Err(status),
        };
        grpc::refused(result, Code::Unauthenticated, "GRANT_INVALID");
        let write = [
            Part::Header(WriteHeader { grant, size: Some(1) }),
            Part::Data(Bytes::from_static(b"x")),
            Part::Finish(WriteFinish { size: 1, digest: Bytes::new() }),
        ];
        let write = tokio_stream::iter(write.map(|part| WriteRequest { part: Some(part) }));
        let result = blob.write(grpc::signed(&token, write)).await;
        grpc::refused(result, Code::Unauthenticated, "GRANT_INVALID");
    }
}

#[tokio::test]
async fn a_member_is_no_administrator() {
    let server = shared(Shape::FourProcesses).await;
    let _log = server.log_on_failure();
    let token = server.persona("alice").await.access_token().await;
    let mut metadata =
        metadata::AdminServiceClient::new(grpc::connect(server.address(Service::Metadata)).await);
    let asked = metadata.create_admin_grant(grpc::signed(&token, CreateAdminGrantRequest {})).await;
    grpc::refused(asked, Code::PermissionDenied, "FORBIDDEN");

    let mut blob = blob::AdminServiceClient::new(grpc::connect(server.address(Service::Blob)).await);
    let kind = JobKind::Scrub.into();
    for grant in [Bytes::new(), Bytes::from(token.clone())] {
        let invalid = (Code::Unauthenticated, "GRANT_INVALID");
        let list = grpc::signed(&token, ListJobsRequest { grant: grant.clone() });
        grpc::refused(blob.list_jobs(list).await, invalid.0, invalid.1);
        let start = grpc::signed(&token, StartJobRequest { grant: grant.clone(), kind });
        grpc::refused(blob.start_job(start).await, invalid.0, invalid.1);
        let stop = grpc::signed(&token, StopJobRequest { grant: grant.clone(), kind });
        grpc::refused(blob.stop_job(stop).await, invalid.0, invalid.1);
        let watch = grpc::signed(&token, WatchJobsRequest { grant });
        grpc::refused(blob.watch_jobs(watch).await, invalid.0, invalid.1);
    }
}

#[tokio::test]
async fn garbage_is_refused_in_good_order() {
    let server = shared(Shape::EightProcesses).await;
    let _log = server.log_on_failure();
    let alice = server.persona("alice").await;
    let token = alice.access_token().await;
    for service in SERVICES {
        let channel = grpc::connect(server.address(service)).await;
        for path in methods(service) {
            let status =
                call(&channel, &path, Some(&token), &b"\xff\xff\xff"[..]).await.expect_err("garbage");
            assert!(
                matches!(status.code(), Code::InvalidArgument | Code::Unauthenticated),
                "{path}: {status:?}"
            );
            assert!(
                !status.message().contains(".rs") && !status.message().contains("panicked"),
                "{path}: {status:?}"
            );
        }
        let status = call(&channel, "/holdall.auth.v1.AccountService/NoSuchMethod", Some(&token), "")
            .await
            .unwrap_err();
        assert!(matches!(status.code(), Code::Unimplemented | Code::Unauthenticated), "{status:?}");
        // It is still there.
        HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    }
}

/// The whole way of an upload without the gateway, as a gRPC client goes it.
#[tokio::test]
async fn a_grpc_client_needs_no_gateway() {
    use holdall_proto::metadata::v1::{
        BeginUploadRequest, CommitUploadRequest, NodeRef, OpenContentRequest, UploadTarget,
        content_service_client::ContentServiceClient, node_ref, upload_target,
    };
    let server = shared(Shape::EightProcesses).await;
    let _log = server.log_on_failure();
    let alice = server.persona("alice").await;
    let token = alice.access_token().await;
    let mut content = ContentServiceClient::new(grpc::connect(server.address(Service::Metadata)).await);
    let mut blob = BlobServiceClient::new(grpc::connect(server.address(Service::Blob)).await);
    let bytes = harness::Content::new("grpc", 3_000_000).bytes();

    let path = upload_target::Target::Path("by grpc/file".to_owned());
    let target = UploadTarget { target: Some(path), keep_both: false };
    let begin =
        BeginUploadRequest { target: Some(target.clone()), size: Some(3_000_000), precondition: None };
    let begun = content.begin_upload(grpc::signed(&token, begin)).await.unwrap().into_inner();
    let mut parts =
        vec![Part::Header(WriteHeader { grant: begun.write_grant.clone(), size: Some(3_000_000) })];
    parts.extend(harness::chunks_of(&bytes, 256 * 1024).into_iter().map(Part::Data));
    let digest = Bytes::copy_from_slice(blake3::hash(&bytes).as_bytes());
    parts.push(Part::Finish(WriteFinish { size: 3_000_000, digest: digest.clone() }));
    let messages = |parts: Vec<Part>| {
        tokio_stream::iter(parts.into_iter().map(|part| WriteRequest { part: Some(part) }))
    };

    // Without the finish, with another digest, or with more than was granted, nothing is kept.
    let unfinished = blob.write(messages(parts[..parts.len() - 1].to_vec())).await;
    grpc::refused(unfinished, Code::InvalidArgument, "TRUNCATED");
    let mut garbled = parts.clone();
    *garbled.last_mut().unwrap() = Part::Finish(WriteFinish { size: 3_000_000, digest: vec![0; 32].into() });
    grpc::refused(blob.write(messages(garbled)).await, Code::InvalidArgument, "DIGEST_MISMATCH");
    let mut larger = parts.clone();
    larger[0] = Part::Header(WriteHeader { grant: begun.write_grant.clone(), size: None });
    larger.insert(1, Part::Data(Bytes::from_static(b"x")));
    grpc::refused(blob.write(messages(larger)).await, Code::ResourceExhausted, "TOO_LARGE");

    let written = blob.write(messages(parts)).await.unwrap().into_inner();
    assert_eq!((written.size, written.digest), (3_000_000, digest));
    let commit = |receipt: Bytes| CommitUploadRequest {
        receipt,
        target: Some(target.clone()),
        media_type: String::new(),
        device: "grpc test".to_owned(),
        precondition: None,
        idempotency_key: String::new(),
        link: None,
    };
    // A grant is no receipt, and a receipt is its space's.
    let forged = content.commit_upload(grpc::signed(&token, commit(begun.write_grant))).await;
    grpc::refused(forged, Code::Unauthenticated, "GRANT_INVALID");
    let bob = server.persona("bob").await.access_token().await;
    let stolen = content.commit_upload(grpc::signed(&bob, commit(written.receipt.clone()))).await;
    grpc::refused(stolen, Code::Unauthenticated, "GRANT_INVALID");
    let first = content
        .commit_upload(grpc::signed(&token, commit(written.receipt.clone())))
        .await
        .unwrap()
        .into_inner();
    let again =
        content.commit_upload(grpc::signed(&token, commit(written.receipt))).await.unwrap().into_inner();
    assert_eq!(first, again);
    assert!(first.created);

    let reference = NodeRef { r#ref: Some(node_ref::Ref::Path("by grpc/file".to_owned())) };
    let open = OpenContentRequest { r#ref: Some(reference), version_id: String::new() };
    let opened = content.open_content(grpc::signed(&token, open)).await.unwrap().into_inner();
    let mut stream = blob
        .read(ReadRequest { grant: opened.read_grant, offset: 1_000_000, length: 1_500_000 })
        .await
        .unwrap()
        .into_inner();
    let mut read = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(message.data.len() <= 256 * 1024);
        read.extend_from_slice(&message.data);
    }
    assert!(read == bytes[1_000_000..2_500_000]);
    assert!(alice.download("by grpc/file").await == bytes);
}
