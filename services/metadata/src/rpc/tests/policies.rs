//! Folder policies, expiry and kept names over the wire.

use holdall_proto::{timestamp, unix_us};

use super::*;

fn policy(change: fn(&mut proto::FolderPolicy)) -> Option<proto::FolderPolicy> {
    let mut policy = proto::FolderPolicy::default();
    change(&mut policy);
    Some(policy)
}

#[tokio::test]
async fn policies_are_set_read_and_removed() {
    let world = World::new().await;
    let caller = world.caller();
    let all = policy(|policy| {
        *policy = proto::FolderPolicy {
            time_to_live: seconds(60),
            max_files: 5,
            max_versions: 6,
            skip_trash: true,
        };
    });
    let create = proto::CreateFolderRequest { name: "d".to_owned(), policy: all, ..Default::default() };
    let made = caller.create_folder(create.clone()).await.unwrap().node.unwrap();
    assert_eq!(made.policy, all);
    let read = async |path: &str| {
        caller.get_node(proto::GetNodeRequest { r#ref: by_path(path) }).await.unwrap().node.unwrap()
    };
    assert_eq!(read("d").await, made);
    assert_eq!(read("").await.policy, None);
    let set = async |policy, precondition| {
        let request = proto::SetFolderPolicyRequest { folder: by_path("d"), policy, precondition };
        caller.set_folder_policy(request).await.map(|answer| answer.node.unwrap())
    };
    let removed = set(None, None).await.unwrap();
    assert_eq!(removed.policy, None);
    assert_ne!(removed.etag, made.etag);
    let stale = proto::EtagList { etags: vec![made.etag] };
    let stale = proto::Precondition { condition: Some(proto::precondition::Condition::AnyOf(stale)) };
    assert_eq!(reason(set(all, Some(stale)).await), "PRECONDITION_FAILED");
    let parents = proto::CreateFolderRequest { parents: true, ..create };
    let again = caller.create_folder(parents).await.unwrap();
    assert_eq!((again.created, again.node.unwrap().policy), (false, all));
    let changes = caller.list_changes(proto::ListChangesRequest::default()).await.unwrap().changes;
    let kinds: Vec<_> = changes.iter().map(proto::Change::kind).collect();
    assert_eq!(kinds, [proto::ChangeKind::Created, proto::ChangeKind::Policy, proto::ChangeKind::Policy]);
}

/// What is answered from memory ends with the file.
#[tokio::test]
async fn kept_answers_end_with_what_is_in_them() {
    let world = World::new().await;
    let caller = world.caller();
    let time_to_live = policy(|policy| policy.time_to_live = seconds(10));
    let request = proto::SetFolderPolicyRequest { policy: time_to_live, ..Default::default() };
    caller.set_folder_policy(request).await.unwrap();
    let file = caller.put("f", b"x").await;
    let link = caller.link(&file.node_id, proto::LinkOptions::default()).await;
    assert_eq!(file.expires_at.as_ref().and_then(unix_us), Some(NOW + 10_000_000));
    world.clock.advance(Duration::from_secs(1));
    caller.put("g", b"y").await;
    let list = async || {
        let children = caller.list_children(proto::ListChildrenRequest::default()).await.unwrap().children;
        children.into_iter().map(|node| node.name).collect::<Vec<_>>()
    };
    let open = async |path: &str| {
        let request = proto::OpenContentRequest { r#ref: by_path(path), ..Default::default() };
        caller.open_content(request).await
    };
    for _ in 0..3 {
        assert_eq!(list().await, ["f", "g"]);
        assert!(open("f").await.is_ok() && open("g").await.is_ok());
        assert!(world.open_link(&link.slug).await.is_ok());
    }
    world.clock.set(NOW + 10_000_000);
    assert_eq!(list().await, ["g"]);
    assert_eq!(reason(open("f").await), "NOT_FOUND");
    assert_eq!(reason(world.open_link(&link.slug).await), "NOT_FOUND");
    let by_id = proto::GetNodeRequest { r#ref: by_id(&file.node_id) };
    assert_eq!(reason(caller.get_node(by_id).await), "NOT_FOUND");
    assert!(open("g").await.is_ok());
    world.clock.set(NOW + 11_000_000);
    assert!(list().await.is_empty());
    // The same content again makes it live on, and nobody is told the old time.
    let first = caller.put("h", b"x").await;
    assert!(open("h").await.is_ok());
    world.clock.advance(Duration::from_secs(5));
    let again = caller.put("h", b"x").await;
    assert_eq!(again.version, first.version);
    assert_eq!(open("h").await.unwrap().node.unwrap().expires_at, Some(timestamp(NOW + 26_000_000)));
}

#[tokio::test]
async fn names_are_kept_apart() {
    let world = World::new().await;
    let caller = world.caller();
    let beside = || Some(proto::UploadTarget { keep_both: true, ..to_path("d/a.txt") });
    let mut names = Vec::new();
    for _ in 0..3 {
        let begin = proto::BeginUploadRequest { target: beside(), size: Some(1), precondition: None };
        let begun = caller.begin_upload(begin).await.unwrap();
        let receipt = world.store(&begun.write_grant, b"x");
        let commit = proto::CommitUploadRequest { receipt, target: beside(), ..Default::default() };
        let made = caller.commit_upload(commit).await.unwrap();
        assert!(made.created);
        names.push(made.node.unwrap().name);
    }
    assert_eq!(names, ["a.txt", "a(1).txt", "a(2).txt"]);
    let other = caller.put("d/b.txt", b"x").await;
    let rename = |keep_both| proto::UpdateNodeRequest {
        node_id: other.node_id.clone(),
        name: Some("a.txt".to_owned()),
        keep_both,
        ..Default::default()
    };
    assert_eq!(reason(caller.update_node(rename(false)).await), "NAME_CONFLICT");
    assert_eq!(caller.update_node(rename(true)).await.unwrap().node.unwrap().name, "a(3).txt");
}

#[tokio::test]
async fn an_emptied_space_is_like_new() {
    let world = World::new().await;
    let caller = world.caller();
    caller.put("a/b/f", b"x").await;
    caller.put("g", b"x").await;
    caller.trash_node(proto::TrashNodeRequest { r#ref: by_path("g"), precondition: None }).await.unwrap();
    caller.buffer(b"text").await;
    assert_eq!(caller.empty_space(proto::EmptySpaceRequest {}).await.unwrap().purged_nodes, 4);
    assert_eq!(caller.empty_space(proto::EmptySpaceRequest {}).await.unwrap().purged_nodes, 0);
    let space = caller.get_space(proto::GetSpaceRequest {}).await.unwrap().space.unwrap();
    assert_eq!((space.used_bytes, space.reserved_bytes), (0, 0));
    let children = caller.list_children(proto::ListChildrenRequest::default()).await.unwrap().children;
    assert!(children.is_empty());
}
