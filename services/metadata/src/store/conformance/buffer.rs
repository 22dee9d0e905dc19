//! The buffer of a space.

use super::*;
use crate::domain::buffer::{Entry, NewEntry};
use crate::domain::error::Error::{IdempotencyMismatch, NotFound, QuotaExceeded};
use crate::domain::id::EntryId;

on_both!(
    the_latest_comes_out_first,
    entries_end,
    the_oldest_make_room,
    a_receipt_makes_one_entry,
    entries_count_and_are_given_back,
    an_entry_takes_its_reservation,
    buffers_are_swept,
    buffers_are_ones_own,
    many_at_once_have_an_order,
    a_refused_one_pushes_nothing_out,
    each_can_have_the_room_of_those_it_pushes_out,
    entries_and_files_are_committed_together,
);

fn entry(content: &str) -> NewEntry {
    NewEntry {
        stored: stored(content),
        name: None,
        media_type: MediaType::parse("text/plain").unwrap(),
        device: "phone".to_owned(),
        time_to_live: None,
    }
}

async fn put(world: &World, content: &str, now: i64) -> Entry {
    world.store.commit_entry(&world.home, &entry(content), now).await.unwrap()
}

async fn list(world: &World, now: i64) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut before = None;
    loop {
        let page = world.store.entries(&world.home, before, 2, now).await.unwrap();
        before = page.items.last().map(|entry| entry.sequence);
        entries.extend(page.items);
        if !page.has_more {
            return entries;
        }
    }
}

async fn the_latest_comes_out_first(world: &World) {
    let (store, home) = (&world.store, &world.home);
    assert_eq!(refusal(store.entry(home, None, NOW).await), NotFound);
    let first = put(world, "one", NOW).await;
    let file = NewEntry { name: Some(name("a b.txt")), ..entry("two") };
    // A clock that goes back does not matter.
    let second = store.commit_entry(home, &file, NOW - SECOND).await.unwrap();
    assert_eq!((first.name.as_deref(), second.name.as_deref()), (None, Some("a b.txt")));
    assert_eq!((first.created_at, first.expires_at), (NOW, NOW + 60 * SECOND));
    assert_eq!((first.size, first.device.as_str(), first.media_type.as_str()), (3, "phone", "text/plain"));
    assert_eq!(store.entry(home, None, NOW).await.unwrap(), second);
    assert_eq!(store.entry(home, Some(first.id), NOW).await.unwrap(), first);
    assert_eq!(refusal(store.entry(home, Some(EntryId::new(NOW)), NOW).await), NotFound);
    assert_eq!(list(world, NOW).await, [second, first]);
    store.clear_buffer(home, NOW).await.unwrap();
    store.clear_buffer(home, NOW).await.unwrap();
    assert_eq!(refusal(store.entry(home, None, NOW).await), NotFound);
    assert!(list(world, NOW).await.is_empty());
    assert_eq!((world.usage().await, world.released().await), ((0, 0), 2));
    world.check_invariants().await;
}

async fn entries_end(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let lasting = put(world, "one", NOW).await;
    let asking = |time| NewEntry { time_to_live: Some(time), ..entry("two") };
    let brief = store.commit_entry(home, &asking(5), NOW).await.unwrap();
    assert_eq!(brief.expires_at, NOW + 5);
    assert_eq!(store.entry(home, None, NOW + 4).await.unwrap(), brief);
    assert_eq!(store.entry(home, None, NOW + 5).await.unwrap(), lasting);
    assert_eq!(refusal(store.entry(home, Some(brief.id), NOW + 5).await), NotFound);
    assert_eq!(list(world, NOW + 5).await, [lasting]);
    let longest = store.commit_entry(home, &asking(i64::MAX), NOW).await.unwrap();
    assert_eq!(longest.expires_at, NOW + 600 * SECOND);
    world.check_invariants().await;
}

async fn the_oldest_make_room(world: &World) {
    let mut entries = Vec::new();
    for index in 0..5 {
        entries.push(put(world, &"x".repeat(index + 1), NOW).await);
    }
    entries.reverse();
    entries.truncate(3);
    assert_eq!(list(world, NOW).await, entries);
    assert_eq!((world.usage().await, world.released().await), ((3 + 4 + 5, 0), 2));
    // What is over does not take anybody's place.
    let brief = NewEntry { time_to_live: Some(1), ..entry("brief") };
    world.store.commit_entry(&world.home, &brief, NOW).await.unwrap();
    let last = put(world, "last", NOW + 1).await;
    assert_eq!(list(world, NOW + 1).await, [last, entries[0].clone(), entries[1].clone()]);
    world.check_invariants().await;
}

async fn a_receipt_makes_one_entry(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let new = entry("one");
    let made = store.commit_entry(home, &new, NOW).await.unwrap();
    put(world, "two", NOW).await;
    assert_eq!(store.commit_entry(home, &new, NOW + 9).await.unwrap(), made);
    assert_eq!(list(world, NOW).await.len(), 2);
    let other = NewEntry { name: Some(name("f")), ..new.clone() };
    assert_eq!(refusal(store.commit_entry(home, &other, NOW).await), IdempotencyMismatch);
    let upload = Commit { stored: new.stored, ..commit(Target::Path(path("f")), "one") };
    assert_eq!(refusal(store.commit_upload(home, &upload, NOW).await), IdempotencyMismatch);
    world.check_invariants().await;
}

async fn entries_count_and_are_given_back(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let sized = |size| {
        let mut entry = entry("x");
        entry.stored.size = size;
        entry
    };
    store.commit_entry(home, &sized(QUOTA - 10), NOW).await.unwrap();
    assert_eq!(refusal(store.commit_entry(home, &sized(11), NOW).await), QuotaExceeded);
    assert_eq!(refusal(world.put("f", "more than ten").await), QuotaExceeded);
    assert_eq!(refusal(store.begin_entry(home, Some(11), NOW).await), QuotaExceeded);
    assert_eq!(store.begin_entry(home, None, NOW).await.unwrap().max_size, 10);
    store.commit_entry(home, &sized(10), NOW).await.unwrap();
    assert_eq!(world.usage().await, (QUOTA, 0));
    assert_eq!(list(world, NOW).await.len(), 2, "a refused one pushes nothing out");
    // What is over by then makes room at once.
    store.commit_entry(home, &sized(100), NOW + 60 * SECOND).await.unwrap();
    assert_eq!(world.usage().await, (100, 0));
    world.check_invariants().await;
}

async fn an_entry_takes_its_reservation(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let begun = store.begin_entry(home, Some(900_000), NOW).await.unwrap();
    assert_eq!((begun.max_size, world.usage().await), (900_000, (0, 900_000)));
    let mut new = entry("big");
    (new.stored.upload, new.stored.size) = (begun.id, 800_000);
    store.commit_entry(home, &new, NOW).await.unwrap();
    assert_eq!(world.usage().await, (800_000, 0));
    let begun = store.begin_entry(home, Some(100_000), NOW).await.unwrap();
    store.abort_upload(home, begun.id, NOW).await.unwrap();
    assert_eq!(world.usage().await, (800_000, 0));
    world.check_invariants().await;
}

async fn buffers_are_swept(world: &World) {
    put(world, "one", NOW).await;
    put(world, "four", NOW + 1).await;
    world.store.sweep_buffers(NOW + 60 * SECOND - 1).await.unwrap();
    assert_eq!(world.usage().await, (7, 0));
    world.store.sweep_buffers(NOW + 60 * SECOND).await.unwrap();
    assert_eq!((world.usage().await, world.released().await), ((4, 0), 1));
    world.store.sweep_buffers(i64::MAX).await.unwrap();
    assert_eq!(world.usage().await, (0, 0));
    world.check_invariants().await;
}

async fn buffers_are_ones_own(world: &World) {
    let (store, stranger) = (&world.store, &world.stranger().await);
    let entry = put(world, "one", NOW).await;
    assert_eq!(refusal(store.entry(stranger, Some(entry.id), NOW).await), NotFound);
    assert_eq!(refusal(store.entry(stranger, None, NOW).await), NotFound);
    assert!(store.entries(stranger, None, 10, NOW).await.unwrap().items.is_empty());
    store.clear_buffer(stranger, NOW).await.unwrap();
    assert_eq!(list(world, NOW).await, [entry]);
}

async fn many_at_once_have_an_order(world: &World) {
    let entries: Vec<NewEntry> = (0..20).map(|index| entry(&index.to_string())).collect();
    let made = futures::future::join_all(
        entries.iter().map(|entry| world.store.commit_entry(&world.home, entry, NOW)),
    )
    .await;
    let mut made: Vec<Entry> = made.into_iter().map(std::result::Result::unwrap).collect();
    made.sort_by_key(|entry| std::cmp::Reverse(entry.sequence));
    made.truncate(3);
    assert_eq!(list(world, NOW).await, made);
    world.check_invariants().await;
}

fn sized(content: &str, size: u64) -> NewEntry {
    let mut entry = entry(content);
    entry.stored.size = size;
    entry
}

async fn a_refused_one_pushes_nothing_out(world: &World) {
    for content in ["a", "b", "c"] {
        put(world, content, NOW).await;
    }
    let before = list(world, NOW).await;
    let refused = world.store.commit_entry(&world.home, &sized("d", QUOTA), NOW).await;
    assert_eq!(refusal(refused), QuotaExceeded);
    assert_eq!(list(world, NOW).await, before);
    world.check_invariants().await;
}

async fn each_can_have_the_room_of_those_it_pushes_out(world: &World) {
    let entries: Vec<NewEntry> = (0..20).map(|index| sized(&index.to_string(), QUOTA / 3)).collect();
    let commits = entries.iter().map(|entry| world.store.commit_entry(&world.home, entry, NOW));
    for made in futures::future::join_all(commits).await {
        made.unwrap();
    }
    assert_eq!((list(world, NOW).await.len(), world.usage().await), (3, (QUOTA / 3 * 3, 0)));
    world.check_invariants().await;
}

async fn entries_and_files_are_committed_together(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let both = (0..20).map(async |index| {
        let content = format!("content {index}");
        let file = commit(Target::Path(path(&format!("f{index}"))), &content);
        let entry = entry(&format!("entry {index}"));
        tokio::join!(store.commit_upload(home, &file, NOW), store.commit_entry(home, &entry, NOW))
    });
    for (file, entry) in futures::future::join_all(both).await {
        assert!(file.unwrap().created);
        entry.unwrap();
    }
    assert_eq!(list(world, NOW).await.len(), 3);
    world.check_invariants().await;
}
