//! Links, as those meet them who were given one.

use super::*;
use crate::domain::error::Error::{Forbidden, NotFound};
use crate::domain::link::{DeleteKey, Slug};

on_both!(
    every_form_opens_as_itself_only,
    downloads_are_counted_and_end,
    the_last_download_goes_to_one,
    a_delete_key_deletes,
    deleting_by_link_skips_the_trash_where_the_owner_would,
    links_to_expired_files_open_nothing,
    a_link_comes_with_a_commit,
);

async fn make(world: &World, file: NodeId, new: NewLink) -> Link {
    world.store.create_link(&world.home, file, &new, false, None, NOW).await.unwrap()
}

async fn every_form_opens_as_itself_only(world: &World) {
    let file = world.put("f", "x").await.unwrap().node;
    for form in Form::ALL {
        let suffix = if form == Form::Uuid { ".mp4" } else { "" };
        let link =
            make(world, file.id, NewLink { form, suffix: suffix.to_owned(), ..NewLink::default() }).await;
        assert_eq!(link.slug.as_str().len(), form.length() + suffix.len());
        for asked in Form::ALL {
            let opened = world.store.open_link(&link.slug, asked, true, NOW).await;
            if asked == form {
                assert_eq!(opened.unwrap(), (link.clone(), file.clone()));
            } else {
                assert_eq!(refusal(opened), NotFound, "{asked:?}");
            }
        }
    }
}

async fn downloads_are_counted_and_end(world: &World) {
    let file = world.put("f", "x").await.unwrap().node;
    let link = make(world, file.id, NewLink { max_downloads: 2, ..NewLink::default() }).await;
    let open = async |download| world.store.open_link(&link.slug, Form::Short, download, NOW).await;
    let mut counts = Vec::new();
    for download in [false, true, false, true] {
        counts.push(open(download).await.unwrap().0.downloads);
    }
    assert_eq!(counts, [0, 1, 1, 2]);
    let stored = world.store.link(&world.home, link.id, NOW).await.unwrap().link;
    assert_eq!((stored.downloads, stored.etag()), (2, link.etag()), "downloads make no other state");
    assert_eq!(refusal(open(false).await), NotFound);
    assert_eq!(world.ls("").await, ["f"], "nobody tried to download it");
    assert_eq!(refusal(open(true).await), NotFound);
    assert!(world.ls("").await.is_empty());
    let trashed = world.store.trash(&world.home, None, 10, NOW).await.unwrap().items;
    assert_eq!(trashed.iter().map(|node| node.id).collect::<Vec<_>>(), [file.id]);
    // It comes back with a link that stays used up.
    world.store.restore_node(&world.home, file.id, None, None, NOW).await.unwrap();
    assert_eq!(refusal(open(false).await), NotFound);
    // Unlimited ones count nothing.
    let free = world.link(file.id).await;
    world.store.open_link(&free.slug, Form::Short, true, NOW).await.unwrap();
    assert_eq!(world.store.link(&world.home, free.id, NOW).await.unwrap().link.downloads, 0);
    world.check_invariants().await;
}

async fn the_last_download_goes_to_one(world: &World) {
    let file = world.put("f", "x").await.unwrap().node;
    let link = make(world, file.id, NewLink { max_downloads: 5, ..NewLink::default() }).await;
    let downloads =
        futures::future::join_all((0..20).map(|_| world.store.open_link(&link.slug, Form::Short, true, NOW)))
            .await;
    let (won, lost): (Vec<_>, Vec<_>) = downloads.into_iter().partition(std::result::Result::is_ok);
    assert_eq!(won.len(), 5);
    for lost in lost {
        assert_eq!(refusal(lost), NotFound);
    }
    assert!(world.ls("").await.is_empty());
    world.check_invariants().await;
}

async fn a_delete_key_deletes(world: &World) {
    let file = world.put("f", "x").await.unwrap().node;
    let link = make(world, file.id, NewLink { deletable: true, ..NewLink::default() }).await;
    let plain = world.link(file.id).await;
    let key = link.delete_key.as_ref();
    assert!(key.is_some() && plain.delete_key.is_none());
    let wrong = DeleteKey::parse("00000000-0000-4000-8000-000000000000");
    let delete = async |slug: &Slug, form, key, now| world.store.delete_by_link(slug, form, key, now).await;
    for (slug, form, key, expected) in [
        (&link.slug, Form::Short, wrong.as_ref(), Forbidden),
        (&link.slug, Form::Short, None, Forbidden),
        (&plain.slug, Form::Short, key, Forbidden),
        (&link.slug, Form::Hex, key, NotFound),
        (&Slug::new(Form::Short, "").unwrap(), Form::Short, key, NotFound),
    ] {
        assert_eq!(refusal(delete(slug, form, key, NOW).await), expected);
    }
    assert_eq!(world.ls("").await, ["f"]);
    delete(&link.slug, Form::Short, key, NOW).await.unwrap();
    assert!(world.ls("").await.is_empty());
    assert_eq!(world.store.trash(&world.home, None, 10, NOW).await.unwrap().items.len(), 1);
    assert_eq!(refusal(world.store.link(&world.home, link.id, NOW).await), NotFound, "the link is gone");
    assert_eq!(refusal(delete(&link.slug, Form::Short, key, NOW).await), NotFound);
    world.check_invariants().await;

    // What cannot be opened cannot be deleted.
    let file = world.put("g", "x").await.unwrap().node;
    let ending =
        make(world, file.id, NewLink { deletable: true, expiry: Expiry::In(5), ..NewLink::default() }).await;
    let ended = delete(&ending.slug, Form::Short, ending.delete_key.as_ref(), NOW + 5).await;
    assert_eq!(refusal(ended), NotFound);
    let used =
        make(world, file.id, NewLink { deletable: true, max_downloads: 1, ..NewLink::default() }).await;
    world.store.open_link(&used.slug, Form::Short, true, NOW).await.unwrap();
    assert_eq!(refusal(delete(&used.slug, Form::Short, used.delete_key.as_ref(), NOW).await), NotFound);
    assert_eq!(world.ls("").await, ["g"]);
}

async fn deleting_by_link_skips_the_trash_where_the_owner_would(world: &World) {
    world.mkdir("", "d").await.unwrap();
    world.policy("d", Policy { skip_trash: true, ..Policy::NONE }).await;
    for new in [
        NewLink { deletable: true, ..NewLink::default() },
        NewLink { max_downloads: 1, ..NewLink::default() },
    ] {
        let file = world.put("d/f", "x").await.unwrap().node;
        let link = make(world, file.id, new).await;
        if let Some(key) = &link.delete_key {
            world.store.delete_by_link(&link.slug, Form::Short, Some(key), NOW).await.unwrap();
        } else {
            world.store.open_link(&link.slug, Form::Short, true, NOW).await.unwrap();
            let attempt = world.store.open_link(&link.slug, Form::Short, true, NOW).await;
            assert_eq!(refusal(attempt), NotFound);
        }
        assert!(world.ls("d").await.is_empty());
        assert!(world.store.trash(&world.home, None, 10, NOW).await.unwrap().items.is_empty());
        assert_eq!(refusal(world.store.link(&world.home, link.id, NOW).await), NotFound);
        assert_eq!(world.usage().await, (0, 0));
    }
    world.check_invariants().await;
}

async fn links_to_expired_files_open_nothing(world: &World) {
    world.policy("", Policy { time_to_live: Some(10), ..Policy::NONE }).await;
    let file = world.put("f", "x").await.unwrap().node;
    let link = make(world, file.id, NewLink { deletable: true, ..NewLink::default() }).await;
    assert!(world.open(&link, NOW + 9).await.is_ok());
    assert_eq!(refusal(world.open(&link, NOW + 10).await), NotFound);
    let key = link.delete_key.as_ref();
    let deleted = world.store.delete_by_link(&link.slug, Form::Short, key, NOW + 10).await;
    assert_eq!(refusal(deleted), NotFound);
    let another = NewLink::default();
    let late = world.store.create_link(&world.home, file.id, &another, false, None, NOW + 10).await;
    assert_eq!(refusal(late), NotFound);
}

async fn a_link_comes_with_a_commit(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let new = NewLink {
        form: Form::Hex,
        expiry: Expiry::In(50),
        file_name: "b.txt".to_owned(),
        deletable: true,
        ..NewLink::default()
    };
    let asked = Commit { link: Some(new), key: Some(key("k")), ..commit(Target::Path(path("a/f")), "x") };
    let made = store.commit_upload(home, &asked, NOW).await.unwrap();
    let link = made.link.clone().unwrap();
    assert_eq!((link.node, link.form, link.expires_at), (made.node.id, Form::Hex, Some(NOW + 50)));
    assert_eq!((link.file_name.as_str(), link.delete_key.is_some()), ("b.txt", true));
    let opened = store.open_link(&link.slug, Form::Hex, false, NOW).await.unwrap();
    assert_eq!(opened, (link.clone(), made.node.clone()));
    // Again, by receipt and by key.
    assert_eq!(store.commit_upload(home, &asked, NOW + 9).await.unwrap(), made);
    let anew = Commit { stored: stored("x"), ..asked.clone() };
    assert_eq!(store.commit_upload(home, &anew, NOW + 9).await.unwrap(), made);
    let other = Commit { link: None, ..anew };
    let mismatch = domain::error::Error::IdempotencyMismatch;
    assert_eq!(refusal(store.commit_upload(home, &other, NOW).await), mismatch);
    // To content that is there already, too.
    let again = Commit { link: asked.link.clone(), ..commit(Target::Path(path("a/f")), "x") };
    let again = store.commit_upload(home, &again, NOW).await.unwrap();
    assert_eq!((again.created, &again.node), (false, &made.node));
    assert_ne!(again.link.unwrap().slug, link.slug);
    // An expiry that makes no sense leaves nothing behind.
    let late = Commit { link: Some(until(NOW)), ..commit(Target::Path(path("g")), "y") };
    let late = store.commit_upload(home, &late, NOW).await;
    assert!(matches!(refusal(late), domain::error::Error::InvalidField { field: "expires_at", .. }));
    assert_eq!(world.ls("").await, ["a"]);
    // Many at once, each with its own.
    let commits: Vec<Commit> = (0..40)
        .map(|index| Commit {
            link: Some(NewLink::default()),
            ..commit(Target::Path(path(&format!("m/{index}"))), "z")
        })
        .collect();
    let made =
        futures::future::join_all(commits.iter().map(|commit| store.commit_upload(home, commit, NOW))).await;
    for made in made {
        let made = made.unwrap();
        assert_eq!(world.open(&made.link.unwrap(), NOW).await.unwrap(), made.node);
    }
    world.check_invariants().await;
}
