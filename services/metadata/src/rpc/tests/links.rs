//! Links over the wire.

use holdall_proto::{timestamp, unix_us};

use super::*;

#[tokio::test]
async fn links_are_made_as_asked() {
    let world = World::new().await;
    let caller = world.caller();
    let file = caller.put("a.mp4", b"x").await;
    let options = proto::LinkOptions {
        form: proto::LinkForm::Uuid.into(),
        slug_suffix: ".mp4".to_owned(),
        expires_in: seconds(60),
        file_name: "holiday.mp4".to_owned(),
        max_downloads: 3,
        deletable: true,
        ..Default::default()
    };
    let link = caller.link(&file.node_id, options).await;
    assert_eq!((link.form(), link.file_name.as_str()), (proto::LinkForm::Uuid, "holiday.mp4"));
    assert_eq!((link.max_downloads, link.downloads), (3, 0));
    assert_eq!(link.expires_at, Some(timestamp(NOW + 60_000_000)));
    assert!(Uuid::parse_str(&link.delete_key).unwrap().get_version_num() == 4);
    assert!(link.slug.ends_with(".mp4") && link.node.is_none());

    let open = proto::OpenLinkRequest { slug: link.slug.clone(), form: link.form, download: true };
    let opened = world.open(open).await.unwrap();
    assert_eq!((opened.name.as_str(), opened.expires_at), ("holiday.mp4", link.expires_at));
    assert_eq!(opened.version, file.version);
    let expected = proto::Link { downloads: 1, node: Some(file.clone()), ..link.clone() };
    for which in [link_by_id(&link.link_id), link_by_slug(&link.slug)] {
        let found = caller.get_link(proto::GetLinkRequest { link: which }).await.unwrap().link;
        assert_eq!(found.as_ref(), Some(&expected));
    }
    let list = async |form: proto::LinkForm, with_nodes| {
        let request = proto::ListLinksRequest { form: form.into(), with_nodes, ..Default::default() };
        caller.list_links(request).await.unwrap().links
    };
    assert_eq!(list(proto::LinkForm::Uuid, true).await, std::slice::from_ref(&expected));
    assert_eq!(list(proto::LinkForm::Unspecified, false).await, [proto::Link { node: None, ..expected }]);
    assert!(list(proto::LinkForm::Short, true).await.is_empty());
}

#[tokio::test]
async fn a_retry_of_a_lasting_link_gives_the_first_answer() {
    let world = World::new().await;
    let caller = world.caller();
    let node_id = caller.put("f", b"x").await.node_id;
    let request = proto::CreateLinkRequest {
        node_id,
        options: Some(proto::LinkOptions { expires_in: seconds(60), ..Default::default() }),
        idempotency_key: "k".to_owned(),
        ..Default::default()
    };
    let first = caller.create_link(request.clone()).await.unwrap();
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(caller.create_link(request.clone()).await.unwrap(), first);
    let other = proto::LinkOptions { expires_in: seconds(61), ..Default::default() };
    let other = proto::CreateLinkRequest { options: Some(other), ..request };
    assert_eq!(reason(caller.create_link(other).await), "IDEMPOTENCY_MISMATCH");
}

#[tokio::test]
async fn a_commit_makes_the_link_too() {
    let world = World::new().await;
    let caller = world.caller();
    let receipt = caller.upload(to_path("f"), b"x").await;
    let commit = proto::CommitUploadRequest {
        receipt,
        target: Some(to_path("f")),
        link: Some(proto::LinkOptions { expires_in: seconds(60), ..Default::default() }),
        ..Default::default()
    };
    let made = caller.commit_upload(commit.clone()).await.unwrap();
    assert_eq!(world.open_link(&made.link.as_ref().unwrap().slug).await.unwrap().name, "f");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(caller.commit_upload(commit).await.unwrap(), made, "again");
}

#[tokio::test]
async fn a_delete_key_deletes_for_anybody() {
    let world = World::new().await;
    let caller = world.caller();
    let file = caller.put("f", b"x").await.node_id;
    let link = caller.link(&file, proto::LinkOptions { deletable: true, ..Default::default() }).await;
    let plain = caller.link(&file, proto::LinkOptions::default()).await;
    world.open_link(&plain.slug).await.unwrap();
    for (slug, key) in [
        (&link.slug, ""),
        (&link.slug, "x"),
        (&link.slug, "00000000-0000-4000-8000-000000000000"),
        (&plain.slug, &link.delete_key),
    ] {
        let status = world.delete_by_link(slug, key).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(reason_of(&status).as_deref(), Some("FORBIDDEN"));
    }
    assert!(world.open_link(&link.slug).await.is_ok());
    world.delete_by_link(&link.slug, &link.delete_key).await.unwrap();
    for slug in [&link.slug, &plain.slug] {
        assert_eq!(reason(world.open_link(slug).await), "NOT_FOUND");
    }
    assert_eq!(reason(world.delete_by_link(&link.slug, &link.delete_key).await), "NOT_FOUND");
    assert_eq!(caller.list_trash(proto::ListTrashRequest::default()).await.unwrap().nodes.len(), 1);
}

/// Whatever the owner does, the next to open a link sees it; and what time does, too.
#[tokio::test]
async fn opened_links_are_never_old() {
    let world = World::new().await;
    let caller = world.caller();
    caller.put("d/f", b"one").await;
    let file = caller.put("d/f", b"two").await;
    let link = caller.link(&file.node_id, proto::LinkOptions::default()).await;
    // Often enough that it is answered from memory.
    let open = async || {
        let first = world.open_link(&link.slug).await;
        for _ in 0..3 {
            let again = world.open_link(&link.slug).await;
            assert_eq!(again.is_ok(), first.is_ok());
            if let (Ok(again), Ok(first)) = (again, &first) {
                assert_eq!(again, *first);
            }
        }
        first
    };
    assert_eq!(open().await.unwrap().version, file.version);
    let written = caller.put("d/f", b"three").await;
    assert_eq!(open().await.unwrap().version, written.version);
    let rename = proto::UpdateNodeRequest {
        node_id: file.node_id.clone(),
        name: Some("g".to_owned()),
        ..Default::default()
    };
    caller.update_node(rename).await.unwrap();
    assert_eq!(open().await.unwrap().name, "g");
    let update = |change: fn(&mut proto::UpdateLinkRequest)| {
        let mut request = proto::UpdateLinkRequest { link_id: link.link_id.clone(), ..Default::default() };
        change(&mut request);
        request
    };
    caller.update_link(update(|link| link.file_name = Some("h".to_owned()))).await.unwrap();
    assert_eq!(open().await.unwrap().name, "h");
    use proto::update_link_request::Expiry;
    let soon = update(|link| link.expiry = Some(Expiry::ExpiresAt(timestamp(NOW + 10_000_000))));
    caller.update_link(soon).await.unwrap();
    let opened = open().await.unwrap();
    assert_eq!(opened.expires_at.as_ref().and_then(unix_us), Some(NOW + 10_000_000));
    world.clock.set(NOW + 9_999_999);
    assert!(open().await.is_ok());
    world.clock.set(NOW + 10_000_000);
    assert_eq!(reason(open().await), "NOT_FOUND", "its time is over");
    caller.update_link(update(|link| link.expiry = Some(Expiry::Never(true)))).await.unwrap();
    assert!(open().await.is_ok());
    let trash = |path: &str| proto::TrashNodeRequest { r#ref: by_path(path), precondition: None };
    let gone = caller.trash_node(trash("d")).await.unwrap().node.unwrap();
    assert_eq!(reason(open().await), "NOT_FOUND");
    caller
        .restore_node(proto::RestoreNodeRequest { node_id: gone.node_id, ..Default::default() })
        .await
        .unwrap();
    assert!(open().await.is_ok());
    let form = proto::LinkForm::Hex.into();
    let wrong = proto::OpenLinkRequest { slug: link.slug.clone(), form, download: false };
    assert_eq!(reason(world.open(wrong).await), "NOT_FOUND", "another form");
    let delete = proto::DeleteLinkRequest { link_id: link.link_id.clone(), precondition: None };
    caller.delete_link(delete).await.unwrap();
    assert_eq!(reason(open().await), "NOT_FOUND");
}

/// Once it was opened, a link is answered without the database: it goes on working when that is closed.
#[tokio::test]
async fn opened_links_are_answered_from_memory() {
    let world = World::new().await;
    let caller = world.caller();
    let file = caller.put("f", b"x").await.node_id;
    let link = caller.link(&file, proto::LinkOptions::default()).await;
    let limited = caller.link(&file, proto::LinkOptions { max_downloads: 100, ..Default::default() }).await;
    for _ in 0..3 {
        world.open_link(&link.slug).await.unwrap();
        world.open_link(&limited.slug).await.unwrap();
    }
    world.store.close().await;
    assert_eq!(world.open_link(&link.slug).await.unwrap().name, "f");
    assert!(world.open_link(&limited.slug).await.is_err(), "what is limited is always asked for");
}

#[tokio::test]
async fn downloads_run_out() {
    let world = World::new().await;
    let caller = world.caller();
    let file = caller.put("f", b"x").await.node_id;
    let link = caller.link(&file, proto::LinkOptions { max_downloads: 2, ..Default::default() }).await;
    let open = async |download| {
        let slug = link.slug.clone();
        world.open(proto::OpenLinkRequest { slug, download, ..Default::default() }).await
    };
    for _ in 0..5 {
        open(false).await.unwrap();
    }
    open(true).await.unwrap();
    open(true).await.unwrap();
    assert_eq!(reason(open(false).await), "NOT_FOUND");
    assert!(caller.get_node(proto::GetNodeRequest { r#ref: by_path("f") }).await.is_ok());
    assert_eq!(reason(open(true).await), "NOT_FOUND");
    assert_eq!(reason(caller.get_node(proto::GetNodeRequest { r#ref: by_path("f") }).await), "NOT_FOUND");
}
