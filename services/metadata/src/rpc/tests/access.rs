//! Who gets in, and what strangers learn.

use holdall_proto::FILE_DESCRIPTOR_SET;
use http::HeaderMap;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tower::{Service, ServiceExt};

use super::*;
use crate::rpc::PUBLIC;

/// Every method of this service's contract.
fn methods() -> Vec<String> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let ours = files.iter().filter(|file| file.package() == "holdall.metadata.v1");
    ours.flat_map(|file| &file.service)
        .flat_map(|service| {
            let prefix = format!("/holdall.metadata.v1.{}/", service.name());
            service.method.iter().map(move |method| format!("{prefix}{}", method.name()))
        })
        .collect()
}

/// Calls a method with an empty message.
async fn call(world: &World, method: &str, authorization: Option<&str>) -> (Code, Option<String>) {
    let body = http_body_util::Full::new(bytes::Bytes::from_static(&[0, 0, 0, 0, 0]));
    let mut request = http::Request::post(format!("http://metadata{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(tonic::body::Body::new(body)).unwrap();
    let answer = world.upstream.clone().ready().await.unwrap().call(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let in_trailers = http_body_util::BodyExt::collect(body).await.unwrap().trailers().cloned();
    let headers: HeaderMap = in_trailers.unwrap_or(head.headers);
    let status = Status::from_header_map(&headers).unwrap();
    (status.code(), reason_of(&status))
}

#[tokio::test]
async fn no_method_works_without_a_token() {
    let world = World::new().await;
    let methods = methods();
    assert!(methods.len() > 29, "{methods:?}");
    for method in &methods {
        let (code, reason) = call(&world, method, None).await;
        if PUBLIC.contains(&method.as_str()) {
            assert_eq!((code, reason.as_deref()), (Code::NotFound, Some("NOT_FOUND")), "{method}");
            continue;
        }
        if method.starts_with("/holdall.metadata.v1.RootsService/") {
            // Blob has no token either: its grant is the proof.
            let expected = (Code::Unauthenticated, Some("GRANT_INVALID"));
            assert_eq!((code, reason.as_deref()), expected, "{method}");
            continue;
        }
        if method.starts_with("/holdall.metadata.v1.FreshnessService/") {
            // About no validators there is nothing to say.
            assert_eq!((code, reason), (Code::Ok, None), "{method}");
            continue;
        }
        assert_eq!((code, reason.as_deref()), (Code::Unauthenticated, Some("TOKEN_MISSING")), "{method}");
        for token in ["Bearer ", "Bearer x.y.z", "Basic YTpi"] {
            let (code, reason) = call(&world, method, Some(token)).await;
            assert_eq!(
                (code, reason.as_deref()),
                (Code::Unauthenticated, Some("TOKEN_INVALID")),
                "{method} {token}"
            );
        }
    }
    let public: Vec<&String> = methods.iter().filter(|method| PUBLIC.contains(&method.as_str())).collect();
    assert_eq!(
        public,
        ["/holdall.metadata.v1.LinkService/OpenLink", "/holdall.metadata.v1.LinkService/DeleteByLink"]
    );
}

#[tokio::test]
async fn a_token_ends() {
    let world = World::new().await;
    let caller = world.caller();
    caller.get_space(proto::GetSpaceRequest {}).await.unwrap();
    world.clock.advance(Duration::from_secs(1_000_100));
    assert_eq!(reason(caller.get_space(proto::GetSpaceRequest {}).await), "TOKEN_EXPIRED");
}

/// What a refusal shows: everything that goes over the wire.
fn shown<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String, Vec<u8>) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

#[derive(Clone)]
struct Ids {
    file: String,
    folder: String,
    trashed: String,
    version: String,
    link: String,
    slug: String,
    entry: String,
}

/// Another account's ids answer exactly as ids that nothing has, and as what is no id at all.
#[tokio::test]
async fn foreign_ids_do_not_exist() {
    let world = World::new().await;
    let owner = world.caller();
    let file = owner.put("docs/a.txt", b"one").await;
    owner.put("docs/a.txt", b"two").await;
    let trashed = owner.put("gone.txt", b"x").await.node_id;
    owner.trash_node(proto::TrashNodeRequest { r#ref: by_id(&trashed), precondition: None }).await.unwrap();
    let link = owner.link(&file.node_id, proto::LinkOptions::default()).await;
    let entry = owner.buffer(b"text").await.entry_id;
    let foreign = Ids {
        version: file.version.unwrap().version_id,
        file: file.node_id,
        folder: file.parent_id,
        trashed,
        link: link.link_id,
        slug: link.slug,
        entry,
    };
    let random = || Uuid::now_v7().to_string();
    let all = |id: &dyn Fn() -> String| Ids {
        file: id(),
        folder: id(),
        trashed: id(),
        version: id(),
        link: id(),
        slug: id(),
        entry: id(),
    };
    let unknown = all(&random);
    let malformed = all(&|| "no-id".to_owned());

    let stranger = world.caller();
    let own = stranger.put("own.txt", b"mine").await;
    let answers = async |ids: Ids| {
        let Ids { file, folder, trashed, version, link, slug, entry } = ids;
        let own_file = own.node_id.clone();
        // A receipt that is good in itself.
        let receipt = stranger.upload(to_path("x"), b"x").await;
        let mut answers = Vec::new();
        macro_rules! call {
            ($method:ident($request:ident { $($field:ident: $value:expr),* })) => {
                #[allow(clippy::needless_update, reason = "some requests have no other field")]
                let request = proto::$request { $($field: $value,)* ..Default::default() };
                answers.push((stringify!($method $($field)*), shown(stranger.$method(request).await)));
            };
        }
        call!(get_node(GetNodeRequest { r#ref: by_id(&file) }));
        call!(get_node(GetNodeRequest { r#ref: by_id(&folder) }));
        call!(get_node(GetNodeRequest { r#ref: by_id(&trashed) }));
        call!(list_children(ListChildrenRequest { folder: by_id(&folder) }));
        call!(list_children(ListChildrenRequest { folder: by_id(&file) }));
        call!(list_ancestors(ListAncestorsRequest { node_id: file.clone() }));
        call!(list_versions(ListVersionsRequest { node_id: file.clone() }));
        call!(list_versions(ListVersionsRequest { node_id: folder.clone() }));
        call!(create_folder(CreateFolderRequest { parent: by_id(&folder), name: "x".to_owned() }));
        call!(create_folder(CreateFolderRequest {
            parent: by_id(&file),
            name: "x".to_owned(),
            parents: true
        }));
        call!(update_node(UpdateNodeRequest { node_id: file.clone(), name: Some("x".to_owned()) }));
        call!(update_node(UpdateNodeRequest { node_id: own_file.clone(), parent_id: Some(folder.clone()) }));
        call!(update_node(UpdateNodeRequest {
            node_id: own_file.clone(),
            parent_id: Some(folder.clone()),
            keep_both: true
        }));
        call!(set_folder_policy(SetFolderPolicyRequest { folder: by_id(&folder) }));
        call!(set_folder_policy(SetFolderPolicyRequest { folder: by_id(&file) }));
        call!(trash_node(TrashNodeRequest { r#ref: by_id(&file) }));
        call!(restore_node(RestoreNodeRequest { node_id: trashed.clone() }));
        call!(restore_node(RestoreNodeRequest { node_id: file.clone() }));
        call!(purge_trash(PurgeTrashRequest { node_id: trashed.clone() }));
        call!(purge_trash(PurgeTrashRequest { node_id: file.clone() }));
        call!(begin_upload(BeginUploadRequest { target: Some(to_node(&file)) }));
        call!(begin_upload(BeginUploadRequest { target: Some(to_node(&folder)) }));
        call!(begin_upload(BeginUploadRequest { target: Some(to_child(&folder, "x")) }));
        call!(commit_upload(CommitUploadRequest { target: Some(to_node(&file)), receipt: receipt.clone() }));
        call!(commit_upload(CommitUploadRequest { target: Some(to_child(&folder, "x")), receipt: receipt }));
        let beside = |target| Some(proto::UploadTarget { keep_both: true, ..target });
        let receipt = stranger.upload(to_path("y"), b"y").await;
        call!(begin_upload(BeginUploadRequest { target: beside(to_child(&folder, "x")) }));
        call!(commit_upload(CommitUploadRequest {
            target: beside(to_child(&folder, "x")),
            receipt: receipt,
            link: Some(proto::LinkOptions::default())
        }));
        call!(open_content(OpenContentRequest { r#ref: by_id(&file) }));
        call!(open_content(OpenContentRequest { r#ref: by_id(&folder) }));
        call!(open_content(OpenContentRequest { r#ref: by_id(&own_file), version_id: version.clone() }));
        call!(create_link(CreateLinkRequest { node_id: file.clone() }));
        call!(create_link(CreateLinkRequest { node_id: file.clone(), reuse: true }));
        call!(get_link(GetLinkRequest { link: link_by_id(&link) }));
        call!(get_link(GetLinkRequest { link: link_by_slug(&slug) }));
        call!(get_entry(GetEntryRequest { entry_id: entry.clone() }));
        call!(update_link(UpdateLinkRequest { link_id: link.clone() }));
        call!(delete_link(DeleteLinkRequest { link_id: link.clone() }));
        let links = proto::ListLinksRequest { node_id: file, ..Default::default() };
        assert_eq!(stranger.list_links(links.clone()).await.unwrap(), proto::ListLinksResponse::default());
        let links = proto::ListLinksRequest { with_nodes: true, ..links };
        assert_eq!(stranger.list_links(links).await.unwrap(), proto::ListLinksResponse::default());
        answers
    };
    let expected = answers(unknown).await;
    for (call, (code, ..)) in &expected {
        assert_eq!(*code, Code::NotFound, "{call}");
    }
    assert_eq!(answers(foreign).await, expected);
    assert_eq!(answers(malformed).await, expected);

    // What names nothing concerns the caller's own alone.
    assert_eq!(reason(stranger.get_entry(proto::GetEntryRequest::default()).await), "NOT_FOUND");
    let entries = stranger.list_entries(proto::ListEntriesRequest::default()).await.unwrap();
    assert_eq!(entries, proto::ListEntriesResponse::default());
    stranger.clear_buffer(proto::ClearBufferRequest {}).await.unwrap();
    assert_eq!(stranger.empty_space(proto::EmptySpaceRequest {}).await.unwrap().purged_nodes, 1);
    assert!(owner.get_entry(proto::GetEntryRequest::default()).await.is_ok());
    assert!(owner.get_node(proto::GetNodeRequest { r#ref: by_path("docs/a.txt") }).await.is_ok());
    // A receipt for one space is none for the buffer of another.
    let begun = owner.begin_entry(proto::BeginEntryRequest::default()).await.unwrap();
    let receipt = world.store(&begun.write_grant, b"x");
    let commit = proto::CommitEntryRequest { receipt, ..Default::default() };
    assert_eq!(reason(stranger.commit_entry(commit).await), "GRANT_INVALID");
}

/// Whatever is wrong with a slug, the answer is the same.
#[tokio::test]
async fn slugs_that_open_nothing_look_alike() {
    let world = World::new().await;
    let caller = world.caller();
    let create = async |path: &str, expires_in: Option<i64>| {
        let node_id = caller.put(path, b"x").await.node_id;
        let expires_at = expires_in.map(|seconds| holdall_proto::timestamp(NOW + seconds * 1_000_000));
        caller.link(&node_id, proto::LinkOptions { expires_at, ..Default::default() }).await
    };
    let open = async |slug: &str| world.open_link(slug).await;
    let good = create("good.txt", None).await;
    let expired = create("expired.txt", Some(10)).await;
    let deleted = create("deleted.txt", None).await;
    let trashed = create("trashed.txt", None).await;
    assert_eq!(open(&expired.slug).await.unwrap().expires_at, expired.expires_at);
    caller
        .delete_link(proto::DeleteLinkRequest { link_id: deleted.link_id, precondition: None })
        .await
        .unwrap();
    caller
        .trash_node(proto::TrashNodeRequest { r#ref: by_path("trashed.txt"), precondition: None })
        .await
        .unwrap();
    world.clock.advance(Duration::from_secs(10));

    let opened = open(&good.slug).await.unwrap();
    assert_eq!(opened.name, "good.txt");
    let file = caller.put("code.txt", b"x").await.node_id;
    let form = proto::LinkForm::Code.into();
    let code = caller.link(&file, proto::LinkOptions { form, ..Default::default() }).await;
    let used = caller.link(&file, proto::LinkOptions { max_downloads: 1, ..Default::default() }).await;
    let slug = used.slug.clone();
    world.open(proto::OpenLinkRequest { slug, download: true, ..Default::default() }).await.unwrap();
    let long = "x".repeat(257);
    let mut answers = Vec::new();
    for slug in [
        "000000000000",
        &expired.slug,
        &deleted.slug,
        &trashed.slug,
        &code.slug,
        &used.slug,
        "",
        "short",
        "../../etc/pw",
        "ü",
        "a\nb",
        &long,
    ] {
        answers.push(shown(open(slug).await));
        answers.push(shown(world.delete_by_link(slug, "00000000-0000-4000-8000-000000000000").await));
    }
    let unknown = proto::OpenLinkRequest { slug: good.slug.clone(), form: 99, ..Default::default() };
    answers.push(shown(world.open(unknown).await));
    assert_eq!(answers[0].0, Code::NotFound);
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
}
