//! The buffer over the wire.

use holdall_proto::blob::v1::ReadGrant;
use holdall_proto::timestamp;

use super::*;

#[tokio::test]
async fn what_was_put_in_last_comes_out() {
    let world = World::new().await;
    let caller = world.caller();
    let text = caller.buffer(b"hello").await;
    assert_eq!((text.kind(), text.name.as_str(), text.size), (proto::EntryKind::Text, "", 5));
    assert_eq!(text.media_type, "text/plain; charset=utf-8");
    assert_eq!(text.digest.as_ref(), blake3::hash(b"hello").as_bytes());
    assert_eq!(text.created_at, Some(timestamp(NOW)));
    assert_eq!(text.expires_at, Some(timestamp(NOW + 2 * 3600 * 1_000_000)));
    let got = caller.get_entry(proto::GetEntryRequest::default()).await.unwrap();
    assert_eq!(got.entry.as_ref(), Some(&text));
    let grant: ReadGrant = world.keys.open(&got.read_grant, NOW).unwrap();
    assert_eq!(grant.expires_at_us, NOW + 300 * 1_000_000);

    let begun = caller.begin_entry(proto::BeginEntryRequest { size: Some(3) }).await.unwrap();
    let commit = proto::CommitEntryRequest {
        receipt: world.store(&begun.write_grant, b"abc"),
        kind: proto::EntryKind::File.into(),
        name: "a.bin".to_owned(),
        device: "phone".to_owned(),
        time_to_live: seconds(60),
        ..Default::default()
    };
    let file = caller.commit_entry(commit.clone()).await.unwrap().entry.unwrap();
    assert_eq!((file.kind(), file.name.as_str()), (proto::EntryKind::File, "a.bin"));
    assert_eq!((file.media_type.as_str(), file.device.as_str()), ("application/octet-stream", "phone"));
    assert_eq!(file.expires_at, Some(timestamp(NOW + 60_000_000)));
    assert_eq!(caller.commit_entry(commit).await.unwrap().entry.as_ref(), Some(&file), "again");
    let latest = caller.get_entry(proto::GetEntryRequest::default()).await.unwrap().entry;
    assert_eq!(latest.as_ref(), Some(&file));
    let earlier = proto::GetEntryRequest { entry_id: text.entry_id.clone() };
    assert_eq!(caller.get_entry(earlier).await.unwrap().entry.as_ref(), Some(&text));
    let space = caller.get_space(proto::GetSpaceRequest {}).await.unwrap().space.unwrap();
    assert_eq!(space.used_bytes, 8);

    world.clock.advance(Duration::from_secs(60));
    let latest = caller.get_entry(proto::GetEntryRequest::default()).await.unwrap().entry;
    assert_eq!(latest.as_ref(), Some(&text), "the file's time is over");
    let gone = proto::GetEntryRequest { entry_id: file.entry_id };
    assert_eq!(reason(caller.get_entry(gone).await), "NOT_FOUND");
    caller.clear_buffer(proto::ClearBufferRequest {}).await.unwrap();
    assert_eq!(reason(caller.get_entry(proto::GetEntryRequest::default()).await), "NOT_FOUND");
    let space = caller.get_space(proto::GetSpaceRequest {}).await.unwrap().space.unwrap();
    assert_eq!(space.used_bytes, 0);
}

#[tokio::test]
async fn the_history_has_pages_and_an_end() {
    let world = World::new().await;
    let caller = world.caller();
    let mut entries = Vec::new();
    for index in 0..25_u8 {
        entries.push(caller.buffer(&[index]).await);
    }
    entries.reverse();
    entries.truncate(20);
    let mut request = proto::ListEntriesRequest { page_size: 8, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let page = caller.list_entries(request.clone()).await.unwrap();
        found.extend(page.entries);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, entries);
    let elsewhere = proto::ListTrashRequest {
        page_token: caller
            .list_entries(proto::ListEntriesRequest { page_size: 1, ..Default::default() })
            .await
            .unwrap()
            .next_page_token,
        ..Default::default()
    };
    assert_eq!(reason(caller.list_trash(elsewhere).await), "INVALID_PAGE_TOKEN");
}

#[tokio::test]
async fn a_receipt_for_the_buffer_is_good_for_one_thing() {
    let world = World::new().await;
    let caller = world.caller();
    let begun = caller.begin_entry(proto::BeginEntryRequest::default()).await.unwrap();
    let receipt = world.store(&begun.write_grant, b"x");
    let entry = proto::CommitEntryRequest { receipt: receipt.clone(), ..Default::default() };
    caller.commit_entry(entry).await.unwrap();
    let upload = proto::CommitUploadRequest { receipt, target: Some(to_path("f")), ..Default::default() };
    assert_eq!(reason(caller.commit_upload(upload).await), "IDEMPOTENCY_MISMATCH");
    let bad = proto::CommitEntryRequest::default();
    assert_eq!(reason(caller.commit_entry(bad).await), "GRANT_INVALID");
}
