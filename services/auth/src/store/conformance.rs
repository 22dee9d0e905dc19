//! What every database has to do alike. Each test runs on SQLite and on PostgreSQL.

use holdall_sql::sql;
use holdall_sql::testing::{TestDatabase, databases};
use uuid::Uuid;

use super::{
    EmailChanged, FoundSession, MIGRATIONS, NewAccount, NewSession, Registered, Repeatable, Store,
    StoredAccount,
};
use crate::domain::{
    Account, AccountId, Email, Handle, HandleHash, Kind, LoginKey, Role, Session, SessionId, Username,
};
use crate::password::Credential;

const NOW: i64 = 1_800_000_000_000_000;
const DAY: i64 = 86_400_000_000;

/// Runs a test on both engines.
macro_rules! on_both {
    ($(async fn $name:ident($store:ident: &Store) $body:block)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            for database in databases(&MIGRATIONS).await {
                eprintln!("on {:?}", database.dialect());
                let $store = &store(&database);
                $body
            }
        }
    )*};
}

fn store(database: &TestDatabase) -> Store {
    Store { db: database.database().clone() }
}

fn key(name: &str) -> LoginKey {
    LoginKey::of_login(name).unwrap()
}

fn new_account(username: &str, email: &str) -> Account {
    Account {
        id: AccountId(Uuid::now_v7()),
        username: Username::parse(username).unwrap(),
        email: Email::parse(email).unwrap(),
        role: Role::Member,
        created_at: NOW,
    }
}

fn credential(text: &str) -> Credential {
    Credential(text.to_owned())
}

async fn add(store: &Store, account: &Account, repeatable: Option<&Repeatable>) -> Registered {
    let credential = &credential("first");
    store.add_account(&NewAccount { account, credential, repeatable }).await.unwrap()
}

async fn added(store: &Store, username: &str, email: &str) -> Account {
    let account = new_account(username, email);
    assert_eq!(add(store, &account, None).await, Registered::New);
    account
}

fn new_session(account: &Account, created_at: i64) -> Session {
    Session {
        id: SessionId(Uuid::now_v7()),
        account_id: account.id,
        kind: Kind::Sync,
        device_name: "Läptop 💻".into(),
        created_at,
        last_used_at: created_at,
        expires_at: created_at + DAY,
        absolute_expires_at: created_at + 2 * DAY,
    }
}

async fn open(store: &Store, session: &Session) -> HandleHash {
    let handle = Handle::generate().unwrap().hash();
    let credential = &credential("first");
    assert!(store.add_session(&NewSession { session, handle, credential, stronger: None }).await.unwrap());
    handle
}

async fn lives(store: &Store, handle: HandleHash, now: i64) -> bool {
    store.session_by_handle(handle, now).await.unwrap().is_some()
}

async fn email_of(store: &Store, account: &Account) -> Option<Email> {
    store.account(account.id).await.unwrap().unwrap().account.email
}

on_both! {
    async fn an_account_is_found_by_each_of_its_names(store: &Store) {
        let alice = added(store, "Alice Ä", "Alice@Example.org").await;
        let expected = StoredAccount { account: alice.clone(), credential: credential("first"), active: true };
        for name in ["alice ä", "ALICE A\u{308}", "alice@example.ORG"] {
            assert_eq!(store.account_by_login(&key(name)).await.unwrap().as_ref(), Some(&expected), "{name}");
        }
        assert_eq!(store.account(alice.id).await.unwrap(), Some(expected));
        for name in ["alice", "example.org", "%", "' OR 1=1 --"] {
            assert_eq!(store.account_by_login(&key(name)).await.unwrap(), None, "{name}");
        }
        assert_eq!(store.account_by_login(&LoginKey::nobody()).await.unwrap(), None);
    }

    async fn names_are_taken_once_across_usernames_and_addresses(store: &Store) {
        added(store, "alice", "a@example.org").await;
        let taken = async |username, email| add(store, &new_account(username, email), None).await;
        assert_eq!(taken("ALICE", "").await, Registered::UsernameTaken);
        assert_eq!(taken("a@Example.org", "").await, Registered::UsernameTaken);
        assert_eq!(taken("bob", "A@EXAMPLE.org").await, Registered::EmailTaken);
        // Nothing of what failed stays.
        assert_eq!(taken("bob", "").await, Registered::New);
        assert_eq!(taken("carol", "").await, Registered::New, "no address is not an address");
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
                (Registered::New, id) => winners.push(id),
                (outcome, _) => assert_eq!(outcome, Registered::UsernameTaken),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(store.account_by_login(&key("eve")).await.unwrap().unwrap().account.id, winners[0]);
    }

    async fn a_registration_with_a_key_happens_once(store: &Store) {
        let repeatable = |time| Repeatable { key: "k1".into(), fingerprint: [7; 32], forgotten_before: time };
        let account = new_account("frank", "");
        assert_eq!(add(store, &account, Some(&repeatable(NOW - DAY))).await, Registered::New);
        assert_eq!(add(store, &new_account("frank", ""), Some(&repeatable(NOW - DAY))).await, Registered::Repeated);
        assert_eq!(add(store, &new_account("grace", ""), Some(&repeatable(NOW - DAY))).await, Registered::Repeated);
        assert_eq!(store.account_by_login(&key("grace")).await.unwrap(), None);
        let found = store.registration("k1", NOW).await.unwrap();
        assert_eq!(found, Some((vec![7; 32], account.id)));
        assert_eq!(store.registration("k1", NOW + 1).await.unwrap(), None);
        assert_eq!(store.registration("k2", NOW).await.unwrap(), None);
        // A forgotten key is free again.
        assert_eq!(add(store, &new_account("heidi", ""), Some(&repeatable(NOW + 1))).await, Registered::New);
        // A failed registration does not use its key up.
        let fresh = Repeatable { key: "k3".into(), fingerprint: [8; 32], forgotten_before: 0 };
        assert_eq!(add(store, &new_account("heidi", ""), Some(&fresh)).await, Registered::UsernameTaken);
        assert_eq!(add(store, &new_account("ivan", ""), Some(&fresh)).await, Registered::New);
    }

    async fn a_session_is_found_by_its_handle_while_it_lives(store: &Store) {
        let account = added(store, "judy", "").await;
        let session = new_session(&account, NOW);
        let handle = open(store, &session).await;
        let expected = FoundSession { session: session.clone(), role: Role::Member };
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
        sql("UPDATE accounts SET state = 'disabled'").execute(&store.db).await.unwrap();
        assert!(!lives(store, handle, NOW).await);
        assert_eq!(store.account_in_session(account.id, session.id, NOW).await.unwrap(), None);
        assert!(!store.account_by_login(&key("kim")).await.unwrap().unwrap().active);
        let again = new_session(&account, NOW);
        let new = NewSession {
            session: &again,
            handle: Handle::generate().unwrap().hash(),
            credential: &credential("first"),
            stronger: None,
        };
        assert!(!store.add_session(&new).await.unwrap());
    }

    async fn a_session_needs_the_credential_that_was_compared(store: &Store) {
        let account = added(store, "leo", "").await;
        let session = new_session(&account, NOW);
        let handle = Handle::generate().unwrap().hash();
        let (first, second, stale) = (credential("first"), credential("second"), credential("stale"));
        let with = |credential, stronger| NewSession { session: &session, handle, credential, stronger };
        assert!(!store.add_session(&with(&stale, None)).await.unwrap());
        assert!(!lives(store, handle, NOW).await);
        assert!(store.add_session(&with(&first, Some(&second))).await.unwrap());
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
        let change = async |old: &str, new: &str| {
            let (old, new) = (credential(old), credential(new));
            store.change_credential(account.id, &old, &new, kept.id, NOW).await.unwrap()
        };
        assert!(!change("stale", "second").await);
        assert!(lives(store, handles[1], NOW).await);
        assert!(change("first", "second").await);
        assert!(lives(store, handles[0], NOW).await);
        assert!(!lives(store, handles[1], NOW).await);
        assert!(lives(store, handles[2], NOW).await);
        assert!(!change("first", "third").await);
    }

    async fn no_session_slips_through_a_change_of_credential(store: &Store) {
        let account = added(store, "ruth", "").await;
        let keeper = new_session(&account, NOW);
        open(store, &keeper).await;
        let sign_ins: Vec<_> = (0..16)
            .map(|_| {
                let (store, session) = (store.clone(), new_session(&account, NOW));
                tokio::spawn(async move {
                    let (handle, first) = (Handle::generate().unwrap().hash(), credential("first"));
                    let new = NewSession { session: &session, handle, credential: &first, stronger: None };
                    store.add_session(&new).await.unwrap();
                })
            })
            .collect();
        let (old, new) = (credential("first"), credential("second"));
        assert!(store.change_credential(account.id, &old, &new, keeper.id, NOW).await.unwrap());
        for sign_in in sign_ins {
            sign_in.await.unwrap();
        }
        assert_eq!(store.sessions(account.id, None, 100, NOW).await.unwrap(), [keeper]);
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

    async fn the_first_shared_key_counts(store: &Store) {
        assert_eq!(store.shared_key("a", [1; 32]).await.unwrap(), [1; 32]);
        assert_eq!(store.shared_key("a", [2; 32]).await.unwrap(), [1; 32]);
        assert_eq!(store.shared_key("b", [2; 32]).await.unwrap(), [2; 32]);
    }

    async fn only_what_is_old_is_swept(store: &Store) {
        let account = added(store, "ursula", "").await;
        let mut handles = Vec::new();
        for created_at in [NOW - 40 * DAY, NOW - 10 * DAY, NOW] {
            handles.push(open(store, &new_session(&account, created_at)).await);
        }
        let repeatable = Repeatable { key: "k".into(), fingerprint: [0; 32], forgotten_before: 0 };
        add(store, &new_account("victor", ""), Some(&repeatable)).await;
        assert_eq!(store.sweep(NOW - 30 * DAY, NOW).await.unwrap(), 1);
        assert!(store.registration("k", NOW).await.unwrap().is_some());
        assert_eq!(store.sweep(NOW - 30 * DAY, NOW + 1).await.unwrap(), 1);
        assert!(store.registration("k", NOW).await.unwrap().is_none());
        assert!(!lives(store, handles[0], NOW - 40 * DAY).await);
        assert!(lives(store, handles[1], NOW - 10 * DAY).await);
        assert!(lives(store, handles[2], NOW).await);
        assert_eq!(store.sweep(NOW - 30 * DAY, NOW).await.unwrap(), 0);
    }
}
