//! What every database has to do alike. Each test runs on SQLite and on PostgreSQL.

mod accounts;
mod sessions;

use holdall_sql::testing::{TestDatabase, databases};
use uuid::Uuid;

use super::{
    CredentialChange, EmailChanged, FoundSession, MIGRATIONS, NewAccount, NewSession, Registered, Repeatable,
    SessionAdded, Store, StoredAccount,
};
use crate::domain::{
    Account, AccountId, Email, Handle, HandleForm, HandleHash, Kind, LoginKey, Role, Session, SessionId,
    Username,
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
use on_both;

fn store(database: &TestDatabase) -> Store {
    Store { db: database.database().clone() }
}

fn key(name: &str) -> LoginKey {
    LoginKey::of_login(name).unwrap()
}

fn new_account(username: &str, email: &str) -> Account {
    Account {
        id: AccountId(Uuid::now_v7()),
        number: 0,
        username: Username::parse(username).unwrap(),
        email: Email::parse(email).unwrap(),
        role: Role::Member,
        external_reference: "/homes/ä".into(),
        created_at: NOW,
    }
}

fn credential(text: &str) -> Credential {
    Credential(text.to_owned())
}

async fn add(store: &Store, account: &Account, repeatable: Option<&Repeatable>) -> Registered {
    let credential = &credential("first");
    store.add_account(&NewAccount { account, credential, imported: false, repeatable }).await.unwrap()
}

async fn added(store: &Store, username: &str, email: &str) -> Account {
    let account = new_account(username, email);
    match add(store, &account, None).await {
        Registered::New { number } => Account { number, ..account },
        outcome => panic!("{username}: {outcome:?}"),
    }
}

fn is_new(outcome: &Registered) -> bool {
    matches!(outcome, Registered::New { .. })
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
    let handle = Handle::generate(HandleForm::Long).unwrap().hash();
    let credential = &credential("first");
    let new = NewSession { session, handle, credential, stronger: None, reuse: None, most: 1_000 };
    assert_eq!(store.add_session(&new).await.unwrap(), SessionAdded::Begun { ended: 0 });
    handle
}

fn change<'a>(
    account: &Account,
    old: Option<&'a Credential>,
    new: &'a Credential,
    keep: SessionId,
) -> CredentialChange<'a> {
    CredentialChange { account: account.id, old, new, imported: false, keep, now: NOW }
}

/// Begins a session that may be reused, unless one of which `fits` is true will do.
async fn reuse(
    store: &Store,
    session: &Session,
    fits: &(dyn Fn(SessionId, HandleHash) -> bool + Send + Sync),
) -> SessionAdded {
    let handle = Handle::generate(HandleForm::Uuid).unwrap().hash();
    let credential = &credential("first");
    let new = NewSession { session, handle, credential, stronger: None, reuse: Some(fits), most: 1_000 };
    store.add_session(&new).await.unwrap()
}

async fn lives(store: &Store, handle: HandleHash, now: i64) -> bool {
    store.session_by_handle(handle, now).await.unwrap().is_some()
}

async fn email_of(store: &Store, account: &Account) -> Option<Email> {
    store.account(account.id).await.unwrap().unwrap().account.email
}

on_both! {
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
