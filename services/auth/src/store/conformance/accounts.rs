use super::*;
use crate::password::Expected;

on_both! {
    async fn an_account_is_found_by_each_of_its_names(store: &Store) {
        let alice = added(store, "Alice Ä", "Alice@Example.org").await;
        let expected = StoredAccount {
            account: alice.clone(),
            credential: credential("first"),
            imported: None,
            active: true,
        };
        for name in ["alice ä", "ALICE A\u{308}", "alice@example.ORG"] {
            assert_eq!(store.account_by_login(&key(name)).await.unwrap().as_ref(), Some(&expected), "{name}");
        }
        assert_eq!(store.account(alice.id).await.unwrap(), Some(expected));
        for name in ["alice", "example.org", "%", "' OR 1=1 --"] {
            assert_eq!(store.account_by_login(&key(name)).await.unwrap(), None, "{name}");
        }
        assert_eq!(store.account_by_login(&LoginKey::nobody()).await.unwrap(), None);
    }

    async fn a_role_is_given_by_username_and_to_persons_only(store: &Store) {
        let alice = added(store, "Alice", "alice@example.org").await;
        let bob = added(store, "bob", "").await;
        let changed = store.change_role(&key("aLICE"), Role::Admin).await.unwrap().unwrap();
        assert_eq!(changed, Account { role: Role::Admin, ..alice.clone() });
        assert_eq!(store.account(alice.id).await.unwrap().unwrap().account.role, Role::Admin);
        assert_eq!(store.account(bob.id).await.unwrap().unwrap().account.role, Role::Member);
        // Again is no error.
        assert!(store.change_role(&key("alice"), Role::Admin).await.unwrap().is_some());
        assert_eq!(store.change_role(&key("alice"), Role::Member).await.unwrap(), Some(alice));
        for nobody in ["alice@example.org", "carol"] {
            assert_eq!(store.change_role(&key(nobody), Role::Admin).await.unwrap(), None, "{nobody}");
        }
    }

    async fn names_are_taken_once_across_usernames_and_addresses(store: &Store) {
        added(store, "alice", "a@example.org").await;
        let taken = async |username, email| add(store, &new_account(username, email), None).await;
        assert_eq!(taken("ALICE", "").await, Registered::UsernameTaken);
        assert_eq!(taken("a@Example.org", "").await, Registered::UsernameTaken);
        assert_eq!(taken("bob", "A@EXAMPLE.org").await, Registered::EmailTaken);
        // Nothing of what failed stays.
        assert!(is_new(&taken("bob", "").await));
        assert!(is_new(&taken("carol", "").await), "no address is not an address");
        // An account may be called like its own address.
        let dora = added(store, "dora@example.org", "Dora@example.org").await;
        assert_eq!(store.account_by_login(&key("dora@example.org")).await.unwrap().unwrap().account, dora);
    }

    async fn of_many_at_once_one_gets_the_name(store: &Store) {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let store = store.clone();
                let account = new_account(if n % 2 == 0 { "Eve" } else { "eVE" }, &format!("{n}@example.org"));
                tokio::spawn(async move { (add(&store, &account, None).await, account.id) })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (Registered::New { .. }, id) => winners.push(id),
                (outcome, _) => assert_eq!(outcome, Registered::UsernameTaken),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(store.account_by_login(&key("eve")).await.unwrap().unwrap().account.id, winners[0]);
    }

    async fn a_registration_with_a_key_happens_once(store: &Store) {
        let repeatable = |time| Repeatable { key: "k1".into(), fingerprint: [7; 32], forgotten_before: time };
        let account = new_account("frank", "");
        assert!(is_new(&add(store, &account, Some(&repeatable(NOW - DAY))).await));
        assert_eq!(add(store, &new_account("frank", ""), Some(&repeatable(NOW - DAY))).await, Registered::Repeated);
        assert_eq!(add(store, &new_account("grace", ""), Some(&repeatable(NOW - DAY))).await, Registered::Repeated);
        assert_eq!(store.account_by_login(&key("grace")).await.unwrap(), None);
        let found = store.registration("k1", NOW).await.unwrap();
        assert_eq!(found, Some((vec![7; 32], account.id)));
        assert_eq!(store.registration("k1", NOW + 1).await.unwrap(), None);
        assert_eq!(store.registration("k2", NOW).await.unwrap(), None);
        // A forgotten key is free again.
        assert!(is_new(&add(store, &new_account("heidi", ""), Some(&repeatable(NOW + 1))).await));
        // A failed registration does not use its key up.
        let fresh = Repeatable { key: "k3".into(), fingerprint: [8; 32], forgotten_before: 0 };
        assert_eq!(add(store, &new_account("heidi", ""), Some(&fresh)).await, Registered::UsernameTaken);
        assert!(is_new(&add(store, &new_account("ivan", ""), Some(&fresh)).await));
    }

    async fn an_address_can_be_replaced_and_removed(store: &Store) {
        let account = added(store, "sara", "old@example.org").await;
        added(store, "toni", "toni@example.org").await;
        let change = async |email: &str| {
            store.change_email(account.id, Email::parse(email).unwrap().as_ref()).await.unwrap()
        };
        let done = |email: &str| {
            EmailChanged::Done(Account { email: Email::parse(email).unwrap(), ..account.clone() })
        };
        let found = async |name: &str| store.account_by_login(&key(name)).await.unwrap().is_some();

        assert_eq!(change("Toni@example.org").await, EmailChanged::Taken);
        assert_eq!(email_of(store, &account).await.unwrap().as_str(), "old@example.org");
        assert!(found("old@example.org").await);

        assert_eq!(change("new@example.org").await, done("new@example.org"));
        assert!(!found("old@example.org").await);
        assert!(found("new@example.org").await);
        assert_eq!(change("NEW@example.org").await, done("NEW@example.org"), "only its case");
        assert_eq!(change("").await, done(""));
        assert!(!found("new@example.org").await);
        assert!(found("sara").await);
        let nobody = store.change_email(AccountId(Uuid::now_v7()), None).await.unwrap();
        assert_eq!(nobody, EmailChanged::NoAccount);
    }

    async fn numbers_begin_at_one_and_are_never_given_out_again(store: &Store) {
        let first = added(store, "alice", "").await;
        assert_eq!(first.number, 1);
        assert_eq!(add(store, &new_account("ALICE", ""), None).await, Registered::UsernameTaken);
        let last = added(store, "bob", "").await;
        assert!(last.number > first.number);
        assert!(store.delete_account(last.id, None).await.unwrap());
        let next = added(store, "bob", "").await;
        assert!(next.number > last.number);
        assert_eq!(store.account(next.id).await.unwrap().unwrap().account, next);
    }

    async fn accounts_made_at_once_have_numbers_of_their_own(store: &Store) {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { added(&store, &format!("user{n}"), "").await.number })
            })
            .collect();
        let mut numbers = Vec::new();
        for task in tasks {
            numbers.push(task.await.unwrap());
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);
    }

    async fn a_username_alone_is_found_as_a_username(store: &Store) {
        let alice = added(store, "alice", "alice@example.org").await;
        let found = async |name: &str| {
            store.account_by_username(&key(name)).await.unwrap().map(|stored| stored.account)
        };
        assert_eq!(found("ALICE").await.as_ref(), Some(&alice));
        assert_eq!(found("alice@example.org").await, None);
        let same = added(store, "same@example.org", "same@example.org").await;
        assert_eq!(found("same@example.org").await, Some(same));
        assert_eq!(found("nobody").await, None);
    }

    async fn a_system_account_is_made_once_and_has_no_login(store: &Store) {
        let name = Username::system("open-store").unwrap();
        assert_eq!(store.system_account(&name).await.unwrap(), None);
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (store, name) = (store.clone(), name.clone());
                tokio::spawn(async move {
                    let account =
                        Account { username: name, role: Role::System, ..new_account("placeholder", "") };
                    let new = NewAccount {
                        account: &account,
                        credential: &Credential::none(),
                        imported: false,
                        repeatable: None,
                    };
                    store.add_system_account(&new).await.unwrap().map(|number| (number, account.id))
                })
            })
            .collect();
        let mut made = Vec::new();
        for task in tasks {
            made.extend(task.await.unwrap());
        }
        let found = store.system_account(&name).await.unwrap().unwrap();
        assert_eq!(made, [(found.account.number, found.account.id)]);
        assert_eq!((found.account.role, &found.account.username), (Role::System, &name));
        assert_eq!(found.expected(), Expected::Nothing);
        assert_eq!(store.account_by_login(&name.key()).await.unwrap(), None);
        assert_eq!(store.account_by_username(&name.key()).await.unwrap(), None);
        assert_eq!(store.system_account(&Username::system("other").unwrap()).await.unwrap(), None);
        // A person's address may look like it.
        let email = Email::any(name.as_str()).unwrap();
        assert!(is_new(&add(store, &Account { email, ..new_account("alice", "") }, None).await));
        assert_eq!(store.system_account(&name).await.unwrap(), Some(found));
    }

    async fn an_imported_credential_stays_until_another_is_set(store: &Store) {
        let account = new_account("uma", "");
        let (imported, ours) = (credential("$1$imported"), credential("$argon2id$ours"));
        let new = NewAccount { account: &account, credential: &imported, imported: true, repeatable: None };
        assert!(is_new(&store.add_account(&new).await.unwrap()));
        let stored = async || store.account(account.id).await.unwrap().unwrap();
        assert_eq!(stored().await.imported.as_ref(), Some(&imported));
        assert_eq!(stored().await.expected(), Expected::Imported(imported.clone()));

        let session = new_session(&account, NOW);
        let handle = Handle::generate(HandleForm::Long).unwrap().hash();
        let new = NewSession {
            session: &session,
            handle,
            credential: &imported,
            stronger: Some(&ours),
            reuse: None,
            most: 1_000,
        };
        assert_eq!(store.add_session(&new).await.unwrap(), SessionAdded::Begun { ended: 0 });
        assert_eq!(stored().await.imported.as_ref(), Some(&imported));
        assert_eq!(stored().await.expected(), Expected::Own(ours.clone()));

        let again = CredentialChange { imported: true, ..change(&account, None, &imported, session.id) };
        assert!(store.change_credential(&again).await.unwrap());
        assert_eq!(stored().await.expected(), Expected::Imported(imported.clone()));
        assert!(store.change_credential(&change(&account, Some(&imported), &ours, session.id)).await.unwrap());
        assert_eq!((stored().await.credential, stored().await.imported), (ours, None));
    }

    async fn a_credential_can_be_replaced_whatever_it_was_and_every_session_ended(store: &Store) {
        let account = added(store, "vera", "").await;
        let handle = open(store, &new_session(&account, NOW)).await;
        let (none, second) = (SessionId(Uuid::nil()), credential("second"));
        assert!(store.change_credential(&change(&account, None, &second, none)).await.unwrap());
        assert!(!lives(store, handle, NOW).await);
        let gone = new_account("gone", "");
        assert!(!store.change_credential(&change(&gone, None, &second, none)).await.unwrap());
    }

    async fn a_deleted_account_leaves_nothing_but_its_number(store: &Store) {
        let account = new_account("wilma", "wilma@example.org");
        let repeatable = Repeatable { key: "k".into(), fingerprint: [0; 32], forgotten_before: 0 };
        assert!(is_new(&add(store, &account, Some(&repeatable)).await));
        let other = added(store, "xena", "").await;
        let handles =
            [open(store, &new_session(&account, NOW)).await, open(store, &new_session(&other, NOW)).await];

        assert!(!store.delete_account(account.id, Some(&credential("stale"))).await.unwrap());
        assert!(lives(store, handles[0], NOW).await);
        assert!(store.delete_account(account.id, Some(&credential("first"))).await.unwrap());
        assert_eq!(store.account(account.id).await.unwrap(), None);
        for name in ["wilma", "wilma@example.org"] {
            assert_eq!(store.account_by_login(&key(name)).await.unwrap(), None, "{name}");
        }
        assert_eq!(store.registration("k", 0).await.unwrap(), None);
        assert!(!lives(store, handles[0], NOW).await);
        assert!(lives(store, handles[1], NOW).await);
        assert!(!store.delete_account(account.id, None).await.unwrap(), "again");
        added(store, "Wilma", "Wilma@example.org").await;
    }
}
