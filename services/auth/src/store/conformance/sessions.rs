use super::*;

on_both! {
    async fn a_session_is_found_by_its_handle_while_it_lives(store: &Store) {
        let account = added(store, "judy", "").await;
        let session = new_session(&account, NOW);
        let handle = open(store, &session).await;
        let expected = FoundSession { session: session.clone(), account: account.clone() };
        assert_eq!(store.session_by_handle(handle, NOW).await.unwrap(), Some(expected));
        assert!(lives(store, handle, NOW + DAY - 1).await);
        assert!(!lives(store, handle, NOW + DAY).await);
        assert!(!lives(store, HandleHash([0; 32]), NOW).await);

        let account_in = async |account, session, now| {
            store.account_in_session(account, session, now).await.unwrap().map(|stored| stored.account.id)
        };
        assert_eq!(account_in(account.id, session.id, NOW).await, Some(account.id));
        assert_eq!(account_in(account.id, session.id, NOW + DAY).await, None);
        assert_eq!(account_in(account.id, SessionId(Uuid::now_v7()), NOW).await, None);
        assert_eq!(account_in(AccountId(Uuid::now_v7()), session.id, NOW).await, None);
    }

    async fn a_disabled_account_has_no_sessions(store: &Store) {
        let account = added(store, "kim", "").await;
        let session = new_session(&account, NOW);
        let handle = open(store, &session).await;
        store.execute("UPDATE accounts SET state = 'disabled'").await;
        assert!(!lives(store, handle, NOW).await);
        assert_eq!(store.account_in_session(account.id, session.id, NOW).await.unwrap(), None);
        assert!(!store.account_by_login(&key("kim")).await.unwrap().unwrap().active);
        let again = new_session(&account, NOW);
        let new = NewSession {
            session: &again,
            handle: Handle::generate(HandleForm::Long).unwrap().hash(),
            credential: &credential("first"),
            stronger: None,
            reuse: None,
            most: 1_000,
        };
        assert_eq!(store.add_session(&new).await.unwrap(), SessionAdded::Refused);
    }

    async fn a_session_needs_the_credential_that_was_compared(store: &Store) {
        let account = added(store, "leo", "").await;
        let session = new_session(&account, NOW);
        let handle = Handle::generate(HandleForm::Long).unwrap().hash();
        let (first, second, stale) = (credential("first"), credential("second"), credential("stale"));
        let with = async |credential, stronger| {
            let new = NewSession { session: &session, handle, credential, stronger, reuse: None, most: 1_000 };
            store.add_session(&new).await.unwrap()
        };
        assert_eq!(with(&stale, None).await, SessionAdded::Refused);
        assert!(!lives(store, handle, NOW).await);
        assert_eq!(with(&first, Some(&second)).await, SessionAdded::Begun { ended: 0 });
        assert!(lives(store, handle, NOW).await);
        assert_eq!(store.account(account.id).await.unwrap().unwrap().credential, second);
    }

    async fn extending_moves_the_end_forward_only(store: &Store) {
        let account = added(store, "mia", "").await;
        let session = new_session(&account, NOW);
        let handle = open(store, &session).await;
        let extend = async |to, now| store.extend_session(session.id, to, now).await.unwrap();
        assert_eq!(extend(NOW + DAY + 5, NOW + 1).await, Some(NOW + DAY + 5));
        assert_eq!(extend(NOW + 5, NOW + 2).await, Some(NOW + DAY + 5));
        let found = store.session_by_handle(handle, NOW).await.unwrap().unwrap().session;
        assert_eq!((found.expires_at, found.last_used_at), (NOW + DAY + 5, NOW + 2));
        assert_eq!(extend(NOW + 9 * DAY, NOW + 2 * DAY).await, None, "it had ended");
        assert!(store.revoke_session(account.id, session.id, NOW).await.unwrap());
        assert_eq!(extend(NOW + 9 * DAY, NOW).await, None);
    }

    async fn use_is_noted_forward_only(store: &Store) {
        let account = added(store, "nina", "").await;
        let session = new_session(&account, NOW);
        let handle = open(store, &session).await;
        store.touch_session(session.id, NOW + 7).await.unwrap();
        store.touch_session(session.id, NOW + 3).await.unwrap();
        let found = store.session_by_handle(handle, NOW).await.unwrap().unwrap();
        assert_eq!(found.session.last_used_at, NOW + 7);
    }

    async fn live_sessions_are_listed_newest_first_in_pages(store: &Store) {
        let (account, other) = (added(store, "olga", "").await, added(store, "olga2", "").await);
        let mut expected = Vec::new();
        for n in 0..7 {
            // Pairs have the same time; their ids decide.
            let session = new_session(&account, NOW + n / 2);
            open(store, &session).await;
            expected.push(session);
        }
        open(store, &new_session(&other, NOW)).await;
        let ended = new_session(&account, NOW);
        open(store, &ended).await;
        store.revoke_session(account.id, ended.id, NOW).await.unwrap();
        let expired = new_session(&account, NOW - DAY);
        open(store, &expired).await;
        expected.sort_by_key(|session| std::cmp::Reverse((session.created_at, session.id.to_string())));

        let mut listed: Vec<Session> = Vec::new();
        loop {
            let after = listed.last().map(|last| (last.created_at, last.id.to_string()));
            let page = store.sessions(account.id, after.as_ref(), 2, NOW).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= 2);
            listed.extend(page);
        }
        assert_eq!(listed, expected);
    }

    async fn a_session_is_ended_by_its_account_alone(store: &Store) {
        let (account, other) = (added(store, "paul", "").await, added(store, "paul2", "").await);
        let session = new_session(&account, NOW);
        let handle = open(store, &session).await;
        assert!(!store.revoke_session(other.id, session.id, NOW).await.unwrap());
        assert!(lives(store, handle, NOW).await);
        assert!(store.revoke_session(account.id, session.id, NOW + 1).await.unwrap());
        assert!(!lives(store, handle, NOW + 1).await);
        assert!(!lives(store, handle, NOW - DAY).await, "also when the clock is set back");
        assert!(store.revoke_session(account.id, session.id, NOW + 2).await.unwrap(), "again");
        assert!(!store.revoke_session(account.id, SessionId(Uuid::now_v7()), NOW).await.unwrap());
    }

    async fn a_new_credential_ends_the_other_sessions(store: &Store) {
        let (account, other) = (added(store, "quin", "").await, added(store, "quin2", "").await);
        let (kept, ended, foreign) =
            (new_session(&account, NOW), new_session(&account, NOW), new_session(&other, NOW));
        let handles = [open(store, &kept).await, open(store, &ended).await, open(store, &foreign).await];
        let replace = async |old: &str, new: &str| {
            let (old, new) = (credential(old), credential(new));
            store.change_credential(&change(&account, Some(&old), &new, kept.id)).await.unwrap()
        };
        assert!(!replace("stale", "second").await);
        assert!(lives(store, handles[1], NOW).await);
        assert!(replace("first", "second").await);
        assert!(lives(store, handles[0], NOW).await);
        assert!(!lives(store, handles[1], NOW).await);
        assert!(lives(store, handles[2], NOW).await);
        assert!(!replace("first", "third").await);
    }

    async fn no_session_slips_through_a_change_of_credential(store: &Store) {
        let account = added(store, "ruth", "").await;
        let keeper = new_session(&account, NOW);
        open(store, &keeper).await;
        let sign_ins: Vec<_> = (0..16)
            .map(|_| {
                let (store, session) = (store.clone(), new_session(&account, NOW));
                tokio::spawn(async move {
                    let (handle, first) = (Handle::generate(HandleForm::Long).unwrap().hash(), credential("first"));
                    let credential = &first;
                    let new =
                        NewSession { session: &session, handle, credential, stronger: None, reuse: None, most: 1_000 };
                    store.add_session(&new).await.unwrap();
                })
            })
            .collect();
        let (old, new) = (credential("first"), credential("second"));
        assert!(store.change_credential(&change(&account, Some(&old), &new, keeper.id)).await.unwrap());
        for sign_in in sign_ins {
            sign_in.await.unwrap();
        }
        assert_eq!(store.sessions(account.id, None, 100, NOW).await.unwrap(), [keeper]);
    }

    async fn a_session_is_reused_by_account_kind_and_device(store: &Store) {
        let (account, other) = (added(store, "yuri", "").await, added(store, "yuri2", "").await);
        let first = new_session(&account, NOW);
        let any = |_, _| true;
        assert_eq!(reuse(store, &first, &any).await, SessionAdded::Begun { ended: 0 });
        let again = new_session(&account, NOW + 5);
        let SessionAdded::Reused { session, handle } = reuse(store, &again, &any).await else {
            panic!("expected the first session")
        };
        assert_eq!(session, Session { last_used_at: NOW + 5, ..first.clone() });
        assert_eq!(store.session_by_handle(handle, NOW).await.unwrap().unwrap().session, session);

        let begun = SessionAdded::Begun { ended: 0 };
        assert_eq!(reuse(store, &Session { kind: Kind::Api, ..new_session(&account, NOW) }, &any).await, begun);
        let elsewhere = Session { device_name: "other".into(), ..new_session(&account, NOW) };
        assert_eq!(reuse(store, &elsewhere, &any).await, begun);
        assert_eq!(reuse(store, &new_session(&other, NOW), &any).await, begun);
        // Whose handle cannot be told again, or that has ended.
        let newer = new_session(&account, NOW + 6);
        assert_eq!(reuse(store, &newer, &|_, _| false).await, begun);
        let fits = move |id, _| id == first.id;
        let next = new_session(&account, NOW + 7);
        assert!(matches!(reuse(store, &next, &fits).await, SessionAdded::Reused { session, .. } if session.id == first.id));
        assert!(store.revoke_session(account.id, newer.id, NOW + 7).await.unwrap());
        assert!(store.revoke_session(account.id, first.id, NOW + 7).await.unwrap());
        assert_eq!(reuse(store, &next, &any).await, begun);
        assert_eq!(reuse(store, &new_session(&account, NOW + 7 + DAY), &any).await, begun, "it had expired");
    }

    async fn only_sessions_that_began_to_be_reused_are(store: &Store) {
        let account = added(store, "zora", "").await;
        open(store, &new_session(&account, NOW)).await;
        let outcome = reuse(store, &new_session(&account, NOW), &|_, _| true).await;
        assert_eq!(outcome, SessionAdded::Begun { ended: 0 });
    }

    async fn of_many_reuses_at_once_one_begins(store: &Store) {
        let account = added(store, "amos", "").await;
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let (store, session) = (store.clone(), new_session(&account, NOW));
                tokio::spawn(async move { reuse(&store, &session, &|_, _| true).await })
            })
            .collect();
        let mut begun = 0;
        for task in tasks {
            begun += usize::from(task.await.unwrap() == SessionAdded::Begun { ended: 0 });
        }
        assert_eq!(begun, 1);
        assert_eq!(store.sessions(account.id, None, 100, NOW).await.unwrap().len(), 1);
    }

    async fn beyond_the_most_the_oldest_sessions_end(store: &Store) {
        let (account, other) = (added(store, "bela", "").await, added(store, "bela2", "").await);
        let foreign = open(store, &new_session(&other, NOW)).await;
        let mut handles = Vec::new();
        for n in 0..4 {
            handles.push(open(store, &new_session(&account, NOW + n)).await);
        }
        // Set back, the clock does not end the new one.
        for (created_at, ended) in [(NOW + 9, 2), (NOW - 9, 1)] {
            let session = new_session(&account, created_at);
            let handle = Handle::generate(HandleForm::Long).unwrap().hash();
            let credential = &credential("first");
            let new = NewSession { session: &session, handle, credential, stronger: None, reuse: None, most: 3 };
            assert_eq!(store.add_session(&new).await.unwrap(), SessionAdded::Begun { ended });
            handles.push(handle);
        }
        let mut living = Vec::new();
        for handle in handles {
            living.push(lives(store, handle, NOW).await);
        }
        assert_eq!(living, [false, false, false, true, true, true]);
        assert!(lives(store, foreign, NOW).await);
    }

    async fn a_replaced_handle_is_good_for_nothing(store: &Store) {
        let account = added(store, "mara", "").await;
        let session = new_session(&account, NOW);
        let (old, other) = (open(store, &session).await, open(store, &new_session(&account, NOW)).await);
        let renewed =
            Session { last_used_at: NOW + 5, expires_at: NOW + 7, absolute_expires_at: NOW + 9, ..session.clone() };
        let new = Handle::generate(HandleForm::Long).unwrap().hash();
        let rotate = async |from, to, now| store.rotate_session(from, to, &renewed, now).await.unwrap();
        assert!(!rotate(other, new, NOW + 5).await, "not its handle");
        assert!(!rotate(old, new, NOW + DAY).await, "it had ended");
        assert!(rotate(old, new, NOW + 5).await);
        assert!(!rotate(old, new, NOW + 5).await, "again");
        assert!(!lives(store, old, NOW).await);
        assert_eq!(store.session_by_handle(new, NOW).await.unwrap().unwrap().session, renewed);
        assert!(lives(store, other, NOW).await);
        assert!(store.revoke_session(account.id, session.id, NOW).await.unwrap());
        assert!(!rotate(new, old, NOW - 1).await, "it was ended");
    }

    async fn of_many_replacements_at_once_one_counts(store: &Store) {
        let account = added(store, "mona", "").await;
        let session = new_session(&account, NOW);
        let old = open(store, &session).await;
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let (store, session) = (store.clone(), session.clone());
                tokio::spawn(async move {
                    let new = Handle::generate(HandleForm::Long).unwrap().hash();
                    let replaced = store.rotate_session(old, new, &session, NOW).await.unwrap();
                    (replaced, lives(&store, new, NOW).await)
                })
            })
            .collect();
        let mut replaced = 0;
        for task in tasks {
            let (counts, lives) = task.await.unwrap();
            assert_eq!(counts, lives);
            replaced += usize::from(counts);
        }
        assert_eq!(replaced, 1);
    }
}
