//! What calls do, from the wire and back to it.

use holdall_proto::blob::v1::ReadGrant;
use holdall_proto::unix_us;

use holdall_runtime::config::ByteSize;

use super::*;
use crate::SpacesConfig;

#[tokio::test]
async fn content_goes_in_by_receipt_and_out_by_grant() {
    let world = World::new().await;
    let caller = world.caller();
    let node = caller.put("docs/a.txt", b"hello").await;
    let opened = caller
        .open_content(proto::OpenContentRequest { r#ref: by_path("/docs/a.txt"), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(opened.node.as_ref(), Some(&node));
    let version = opened.version.unwrap();
    assert_eq!(Some(&version), node.version.as_ref());
    assert_eq!((version.size, version.media_type.as_str()), (5, "application/octet-stream"));
    assert_eq!(version.digest.as_ref(), blake3::hash(b"hello").as_bytes());
    assert_eq!(version.author_account_id, caller.account.to_string());
    assert_eq!(unix_us(&version.created_at.unwrap()), Some(NOW));
    let grant: ReadGrant = world.keys.open(&opened.read_grant, NOW).unwrap();
    assert_eq!(grant.expires_at_us, NOW + 300 * 1_000_000);

    let space = caller.get_space(proto::GetSpaceRequest {}).await.unwrap().space.unwrap();
    assert_eq!((space.used_bytes, space.reserved_bytes, space.change_sequence), (5, 0, 2));
    assert_eq!((space.quota_bytes, space.owner_account_id), (1 << 40, caller.account.to_string()));
    assert_eq!(node.space_id, space.space_id);
    let root = caller.get_node(proto::GetNodeRequest { r#ref: None }).await.unwrap().node.unwrap();
    assert_eq!((root.node_id, root.parent_id.as_str(), root.name.as_str()), (space.root_node_id, "", ""));
    let changes = caller.list_changes(proto::ListChangesRequest::default()).await.unwrap();
    assert_eq!((changes.last_sequence, changes.has_more), (2, false));
    assert_eq!(
        (&changes.changes[1].node_id, &changes.changes[1].version_id),
        (&node.node_id, &version.version_id)
    );
}

#[tokio::test]
async fn only_blobs_own_word_for_this_space_is_taken() {
    let world = World::new().await;
    let (caller, other) = (world.caller(), world.caller());
    let receipt = caller.upload(to_path("f"), b"hello").await;
    let foreign = other.upload(to_path("f"), b"hello").await;
    let commit = async |receipt: bytes::Bytes| {
        let request =
            proto::CommitUploadRequest { receipt, target: Some(to_path("f")), ..Default::default() };
        caller.commit_upload(request).await
    };
    let mut flipped = receipt.to_vec();
    flipped[20] ^= 1;
    let forged = KeyRing::new(&[1; 32]).seal(&Receipt { expires_at_us: i64::MAX, ..Default::default() });
    let begun = caller
        .begin_upload(proto::BeginUploadRequest { target: Some(to_path("f")), ..Default::default() })
        .await
        .unwrap();
    for bad in [bytes::Bytes::new(), flipped.into(), forged, foreign, begun.write_grant] {
        assert_eq!(reason(commit(bad).await), "GRANT_INVALID");
    }
    world.clock.advance(Duration::from_secs(12 * 3600));
    assert_eq!(reason(commit(receipt.clone()).await), "GRANT_INVALID", "too late");
    world.clock.set(NOW + 12 * 3600 * 1_000_000 - 1);
    let made = commit(receipt.clone()).await.unwrap();
    assert!(made.created);
    assert_eq!(commit(receipt).await.unwrap(), made, "again");
}

#[tokio::test]
async fn page_tokens_belong_to_their_list() {
    let world = World::new().await;
    let (caller, other) = (world.caller(), world.caller());
    for index in 0..5 {
        caller.put(&format!("d/{index}"), b"x").await;
        other.put(&format!("d/{index}"), b"x").await;
    }
    let list =
        |path: &str| proto::ListChildrenRequest { folder: by_path(path), page_size: 2, ..Default::default() };
    let mut request = list("d");
    let mut names = Vec::new();
    let mut first_token = String::new();
    loop {
        let page = caller.list_children(request.clone()).await.unwrap();
        assert!(page.children.len() <= 2);
        names.extend(page.children.into_iter().map(|node| node.name));
        if first_token.is_empty() {
            first_token.clone_from(&page.next_page_token);
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["0", "1", "2", "3", "4"]);

    let token = || first_token.clone();
    let modified = proto::ListOrder::Modified.into();
    for wrong in [
        proto::ListChildrenRequest { page_token: token(), ..list("") },
        proto::ListChildrenRequest { page_token: token(), order: modified, ..list("d") },
        proto::ListChildrenRequest { page_token: token(), descending: true, ..list("d") },
        proto::ListChildrenRequest { page_token: "x".to_owned(), ..list("d") },
        proto::ListChildrenRequest { page_token: token() + "A", ..list("d") },
    ] {
        assert_eq!(reason(caller.list_children(wrong).await), "INVALID_PAGE_TOKEN");
    }
    let theirs = proto::ListChildrenRequest { page_token: token(), ..list("d") };
    assert_eq!(reason(other.list_children(theirs).await), "INVALID_PAGE_TOKEN");
    let elsewhere = proto::ListTrashRequest { page_token: token(), page_size: 2 };
    assert_eq!(reason(caller.list_trash(elsewhere).await), "INVALID_PAGE_TOKEN");
    let elsewhere = proto::ListLinksRequest { page_token: token(), ..Default::default() };
    assert_eq!(reason(caller.list_links(elsewhere).await), "INVALID_PAGE_TOKEN");
}

#[tokio::test]
async fn every_list_has_pages() {
    let world = World::new().await;
    let caller = world.caller();
    let mut node_id = String::new();
    for index in 0..5 {
        node_id = caller.put("f", format!("{index}").as_bytes()).await.node_id;
        let link = proto::CreateLinkRequest { node_id: node_id.clone(), ..Default::default() };
        caller.create_link(link).await.unwrap();
        caller.put(&format!("gone{index}"), b"x").await;
        let gone = proto::TrashNodeRequest { r#ref: by_path(&format!("gone{index}")), precondition: None };
        caller.trash_node(gone).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
    }
    macro_rules! walk {
        ($method:ident, $request:expr, $items:ident, $key:expr) => {{
            let mut request = $request;
            let (mut keys, mut pages) = (Vec::new(), 0);
            loop {
                request.page_size = 2;
                let page = caller.$method(request.clone()).await.unwrap();
                keys.extend(page.$items.iter().map($key));
                pages += 1;
                if page.next_page_token.is_empty() {
                    break;
                }
                request.page_token = page.next_page_token;
            }
            assert_eq!((keys.len(), pages), (5, 3), stringify!($method));
            assert!(keys.is_sorted_by(|a, b| a > b), "the latest first: {keys:?}");
        }};
    }
    let versions = proto::ListVersionsRequest { node_id: node_id.clone(), ..Default::default() };
    walk!(list_versions, versions, versions, |version| unix_us(&version.created_at.unwrap()));
    let links = proto::ListLinksRequest { node_id, ..Default::default() };
    walk!(list_links, links, links, |link| unix_us(&link.created_at.unwrap()));
    let trash = proto::ListTrashRequest::default();
    walk!(list_trash, trash, nodes, |node| unix_us(&node.trashed_at.unwrap()));

    let mut changes = Vec::new();
    let mut request = proto::ListChangesRequest { page_size: 3, ..Default::default() };
    loop {
        let page = caller.list_changes(request.clone()).await.unwrap();
        (request.after_sequence, request.epoch) = (page.last_sequence, page.epoch);
        changes.extend(page.changes.into_iter().map(|change| change.sequence));
        if !page.has_more {
            break;
        }
    }
    assert_eq!(changes, (1..=15).collect::<Vec<u64>>());
    assert_eq!(caller.list_changes(request.clone()).await.unwrap().last_sequence, 15, "nothing new");
    // As after a backup was restored.
    request.epoch = "0123456789abcdef".to_owned();
    let refused = caller.list_changes(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
}

/// The installation's own accounts have a quota of their own.
#[tokio::test]
async fn the_role_decides_the_quota() {
    let spaces = SpacesConfig { default_quota: ByteSize::new(10), system_quota: ByteSize::new(20) };
    let world = World::with(Config { spaces, ..Config::default() }).await;
    for (role, quota) in [("member", 10), ("admin", 10), ("system", 20)] {
        let space = world.caller_as(role).get_space(proto::GetSpaceRequest {}).await.unwrap().space.unwrap();
        assert_eq!(space.quota_bytes, quota, "{role}");
    }
}

#[tokio::test]
async fn large_uploads_reserve_room_and_give_it_back() {
    let spaces = SpacesConfig { default_quota: ByteSize::new(10 << 20), ..SpacesConfig::default() };
    let world = World::with(Config { spaces, ..Config::default() }).await;
    let caller = world.caller();
    let begin = async |size| {
        caller
            .begin_upload(proto::BeginUploadRequest { target: Some(to_path("f")), size, precondition: None })
            .await
    };
    let reserved =
        async || caller.get_space(proto::GetSpaceRequest {}).await.unwrap().space.unwrap().reserved_bytes;
    let begun = begin(Some(8 << 20)).await.unwrap();
    assert_eq!(reserved().await, 8 << 20);
    assert_eq!(reason(begin(Some(3 << 20)).await), "QUOTA_EXCEEDED");
    assert_eq!(reason(begin(Some(u64::MAX)).await), "QUOTA_EXCEEDED");
    let unknown = begin(None).await.unwrap();
    let grant: WriteGrant = world.keys.open(&unknown.write_grant, NOW).unwrap();
    assert_eq!((grant.max_size, grant.upload_id), (2 << 20, unknown.upload_id));
    caller.abort_upload(proto::AbortUploadRequest { upload_id: begun.upload_id }).await.unwrap();
    assert_eq!(reserved().await, 0);
}

/// Several callers change the same folder; everybody sees at once what was answered to him, and what others undid.
#[tokio::test(flavor = "multi_thread")]
async fn kept_answers_are_never_old() {
    let world = World::new().await;
    let caller = world.caller();
    caller.put("d/first", b"x").await;
    let list = async |path: &str| {
        let request =
            proto::ListChildrenRequest { folder: by_path(path), page_size: 1000, ..Default::default() };
        let children = caller.list_children(request).await.unwrap().children;
        children.into_iter().map(|node| node.name).collect::<Vec<_>>()
    };
    let open = async |path: &str| {
        let request = proto::OpenContentRequest { r#ref: by_path(path), ..Default::default() };
        caller.open_content(request).await.map(|opened| opened.version.unwrap().digest)
    };
    let caller = &caller;
    let (list, open) = (&list, &open);
    futures::future::join_all((0..4).map(|task| async move {
        for index in 0..25 {
            let (name, content) = (format!("{task}-{index}"), format!("{task} {index}"));
            let path = format!("d/{name}");
            caller.put(&path, content.as_bytes()).await;
            assert!(list("d").await.contains(&name));
            assert_eq!(open(&path).await.unwrap().as_ref(), blake3::hash(content.as_bytes()).as_bytes());
            caller.put(&path, b"other").await;
            assert_eq!(open(&path).await.unwrap().as_ref(), blake3::hash(b"other").as_bytes());
            if index % 2 == 0 {
                let trash = proto::TrashNodeRequest { r#ref: by_path(&path), precondition: None };
                caller.trash_node(trash).await.unwrap();
                assert!(!list("d").await.contains(&name));
                assert_eq!(reason(open(&path).await), "NOT_FOUND");
            }
        }
    }))
    .await;
    assert_eq!(list("d").await.len(), 1 + 4 * 12);

    // The folder itself goes, and comes back under another name.
    let folder = caller.get_node(proto::GetNodeRequest { r#ref: by_path("d") }).await.unwrap().node.unwrap();
    let rename = proto::UpdateNodeRequest {
        node_id: folder.node_id,
        name: Some("e".to_owned()),
        ..Default::default()
    };
    caller.update_node(rename).await.unwrap();
    let gone = proto::ListChildrenRequest { folder: by_path("d"), ..Default::default() };
    assert_eq!(reason(caller.list_children(gone).await), "NOT_FOUND");
    assert_eq!(reason(open("d/first").await), "NOT_FOUND");
    assert!(open("e/first").await.is_ok());
    // What is kept for one account is not there for another.
    assert_eq!(
        reason(
            world
                .caller()
                .open_content(proto::OpenContentRequest { r#ref: by_path("e/first"), ..Default::default() })
                .await
        ),
        "NOT_FOUND"
    );
}
