//! Files whose time is over.

use super::*;
use crate::domain::change::ChangeKind;
use crate::domain::error::Error::{NameConflict, NotFound};
use crate::store::Purge;

on_both!(
    an_expired_file_is_not_there,
    its_name_is_free_for_everything,
    expired_files_are_swept,
    time_goes_on_in_the_trash,
);

const OVER: i64 = NOW + 10;

/// A folder whose files live for 10 microseconds, with one in it.
async fn short_lived(world: &World) -> Node {
    world.mkdir("", "d").await.unwrap();
    world.policy("d", Policy { time_to_live: Some(10), ..Policy::NONE }).await;
    world.put("d/f", "x").await.unwrap().node
}

async fn an_expired_file_is_not_there(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = short_lived(world).await;
    let (id, path_) = (NodeRef::Id(file.id), at("d/f"));
    let none = &Precondition::None;
    for now in [NOW, OVER - 1] {
        assert_eq!(store.node(home, &id, now).await.unwrap(), file);
        assert_eq!(store.node(home, &path_, now).await.unwrap(), file);
        assert_eq!(world.ls_at("d", now).await, ["f"]);
    }
    for now in [OVER, i64::MAX] {
        for refusal in [
            refusal(store.node(home, &id, now).await),
            refusal(store.node(home, &path_, now).await),
            refusal(store.content(home, &id, None, now).await),
            refusal(store.content(home, &path_, None, now).await),
            refusal(store.content(home, &path_, file.version.as_ref().map(|version| version.id), now).await),
            refusal(store.versions(home, file.id, None, 10, now).await),
            refusal(store.ancestors(home, file.id, now).await),
            refusal(store.folder(home, &id, now).await),
            refusal(store.update_node(home, file.id, &renamed("g"), none, now).await),
            refusal(store.update_node(home, file.id, &moved(home.root), none, now).await),
            refusal(store.trash_node(home, &id, none, now).await),
            refusal(store.trash_node(home, &path_, none, now).await),
            refusal(store.restore_node(home, file.id, None, None, now).await),
            refusal(store.purge(home, Purge::Node(file.id), now).await),
            refusal(store.begin_upload(home, &Target::Node(file.id), false, Some(1), none, now).await),
            refusal(world.put_at(Target::Node(file.id), "y", now).await),
            refusal(world.put_at(Target::Child { parent: file.id, name: name("x") }, "y", now).await),
            refusal(store.create_link(home, file.id, &NewLink::default(), false, None, now).await),
        ] {
            assert_eq!(refusal, NotFound);
        }
        assert!(world.ls_at("d", now).await.is_empty());
        let folder = world.get("d").await.unwrap().id;
        for order in [Order::Name, Order::Modified] {
            let page = store
                .children(home, folder, Sort { by: order, descending: true }, None, 10, now)
                .await
                .unwrap();
            assert!(page.items.is_empty());
        }
    }
    assert_eq!(world.usage().await, (1, 0), "until it is swept");
    world.check_invariants().await;
}

async fn its_name_is_free_for_everything(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let first = short_lived(world).await;
    let none = &Precondition::None;
    // Also where files live for ever by now.
    world.policy("d", Policy::NONE).await;
    let begin = async |precondition: &Precondition, now| {
        store.begin_upload(home, &Target::Path(path("d/f")), false, Some(1), precondition, now).await
    };
    assert!(begin(&Precondition::Absent, OVER - 1).await.is_err());
    begin(&Precondition::Absent, OVER).await.unwrap();
    let new = Commit { precondition: Precondition::Absent, ..commit(Target::Path(path("d/f")), "yy") };
    let new = store.commit_upload(home, &new, OVER).await.unwrap();
    assert!(new.created && new.node.id != first.id);
    assert_eq!(world.usage().await, (2, 0));
    assert_eq!(new.node.expires_at, None);

    // One after another under the same name, by every way that gives a name.
    let expire = async || {
        world.policy("d", Policy { time_to_live: Some(10), ..Policy::NONE }).await;
        store.trash_node(home, &at("d/f"), none, OVER).await.ok();
        world.put("d/f", "x").await.unwrap().node
    };
    expire().await;
    let folder = NewFolder { parent: at("d"), names: vec![name("f")], parents: false, policy: None };
    assert_eq!(refusal(store.create_folder(home, &folder, None, OVER - 1).await), NameConflict);
    assert!(store.create_folder(home, &folder, None, OVER).await.unwrap().created);

    expire().await;
    let deep = Target::Path(path("d/f/g"));
    assert!(world.put_at(deep, "z", OVER).await.unwrap().created, "also for a folder on the way");

    expire().await;
    let other = world.put("other", "x").await.unwrap().node.id;
    let to = world.get("d").await.unwrap().id;
    let update = NodeUpdate { parent: Some(to), ..renamed("f") };
    assert_eq!(refusal(store.update_node(home, other, &update, none, OVER - 1).await), NameConflict);
    assert_eq!(store.update_node(home, other, &update, none, OVER).await.unwrap().name, "f");

    let gone = store.trash_node(home, &at("d/f"), none, NOW).await.unwrap();
    world.put("d/f", "x").await.unwrap();
    let restore = async |now| store.restore_node(home, gone.id, None, None, now).await;
    assert_eq!(refusal(restore(OVER - 1).await), NameConflict);
    assert_eq!(restore(OVER).await.unwrap().name, "f");
    world.check_invariants().await;
}

async fn expired_files_are_swept(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = short_lived(world).await;
    let link = world.link(file.id).await;
    world.put_at(Target::Path(path("d/later")), "yy", NOW + 5).await.unwrap();
    world.put("keep", "zzz").await.unwrap();
    // Somebody else's too.
    let stranger = store.home(AccountId::new(NOW), Owner::Person, NOW).await.unwrap();
    let policy = Policy { time_to_live: Some(10), ..Policy::NONE };
    store.set_folder_policy(&stranger, &at(""), policy, &Precondition::None, NOW).await.unwrap();
    store.commit_upload(&stranger, &commit(Target::Path(path("f")), "x"), NOW).await.unwrap();
    store.sweep_expired(OVER - 1).await.unwrap();
    assert_eq!((world.usage().await, world.released().await), ((6, 0), 0));
    store.sweep_expired(OVER).await.unwrap();
    assert_eq!((world.usage().await, world.released().await), ((5, 0), 2));
    assert_eq!(store.space(&stranger).await.unwrap().used, 0);
    assert_eq!(refusal(store.link(home, link.id, NOW).await), NotFound);
    assert_eq!(world.ls("d").await, ["later"]);
    let last = store.changes(home, 0, 100).await.unwrap().items.pop().unwrap();
    assert_eq!((last.kind, last.node), (ChangeKind::Purged, file.id));
    // What was moved out in time stays.
    let later = world.get("d/later").await.unwrap().id;
    world.move_to(later, home.root).await.unwrap();
    store.sweep_expired(i64::MAX).await.unwrap();
    assert_eq!(world.ls("").await, ["d", "keep", "later"]);
    world.check_invariants().await;
}

async fn time_goes_on_in_the_trash(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = short_lived(world).await;
    world.trash("d/f").await.unwrap();
    let trash = async |now| store.trash(home, None, 10, now).await.unwrap().items.len();
    assert_eq!((trash(OVER - 1).await, trash(OVER).await), (1, 0));
    assert_eq!(refusal(store.restore_node(home, file.id, None, None, OVER).await), NotFound);
    let back = store.restore_node(home, file.id, None, None, OVER - 1).await.unwrap();
    assert_eq!(back.expires_at, Some(OVER - 1 + 10), "from now on");
    world.trash("d/f").await.unwrap();
    store.sweep_expired(i64::MAX).await.unwrap();
    assert_eq!(world.usage().await, (0, 0));
    world.check_invariants().await;
}
