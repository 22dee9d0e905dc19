use std::collections::HashSet;

use holdall_proto::auth::v1::{
    Account, ChangeEmailRequest, ChangePasswordRequest, DeleteAccountRequest, GetAccountRequest,
    RegisterRequest, Role,
};
use holdall_runtime::status::{field_violations, retry_after};

use super::*;

async fn register(auth: &Auth, request: RegisterRequest) -> Result<String, Status> {
    let answer = auth.accounts().register(request).await?;
    Ok(answer.into_inner().account.unwrap().account_id)
}

async fn change_password(
    auth: &Auth,
    session: &CreateSessionResponse,
    current: &str,
    new: &str,
) -> Result<(), Status> {
    let request = ChangePasswordRequest {
        current_password: current.into(),
        new_password: new.into(),
        ..ChangePasswordRequest::default()
    };
    auth.accounts().change_password(by(session, request)).await.map(drop)
}

#[tokio::test]
async fn an_account_is_as_it_was_registered() {
    let auth = Auth::start().await;
    let request = RegisterRequest { email: "Zoe@Example.org".into(), ..registration("Zoe\u{308}") };
    let made = auth.accounts().register(request).await.unwrap().into_inner().account.unwrap();
    assert_eq!((made.username.as_str(), made.email.as_str()), ("Zoë", "Zoe@Example.org"));
    assert_eq!(made.role(), Role::Member);
    assert_eq!(since_start(&made.created_at), 0);
    for login in ["zoë", "ZOE\u{308}", "zoe@example.org"] {
        let session = auth.sign_in(login, PASSWORD).await.unwrap();
        let read = auth.accounts().get_account(by(&session, GetAccountRequest {})).await.unwrap();
        assert_eq!(read.into_inner().account.unwrap(), made);
    }
}

#[tokio::test]
async fn broken_rules_are_named_by_field() {
    let auth = Auth::start().await;
    let good = || registration("alice");
    for (request, field) in [
        (RegisterRequest { username: "a/b".into(), ..good() }, "username"),
        (RegisterRequest { username: String::new(), ..good() }, "username"),
        (RegisterRequest { password: "short".into(), ..good() }, "password"),
        (RegisterRequest { password: "x".repeat(1025), ..good() }, "password"),
        (RegisterRequest { email: "nobody".into(), ..good() }, "email"),
    ] {
        let status = auth.accounts().register(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&status).as_deref(), Some("INVALID_ACCOUNT"));
        assert_eq!(field_violations(&status)[0].0, field);
    }
    for (request, field) in [
        (RegisterRequest { idempotency_key: "k".repeat(256), ..good() }, "idempotency_key"),
        (RegisterRequest { idempotency_key: "a\0".into(), ..good() }, "idempotency_key"),
        (RegisterRequest { client_address: "somewhere".into(), ..good() }, "client_address"),
        (RegisterRequest { external_reference: "x".repeat(1025), ..good() }, "external_reference"),
        (RegisterRequest { external_reference: "a\nb".into(), ..good() }, "external_reference"),
    ] {
        let status = auth.accounts().register(request).await.unwrap_err();
        assert_eq!(reason_of(&status).as_deref(), Some("INVALID_FIELD"));
        assert_eq!(field_violations(&status)[0].0, field);
    }
}

#[tokio::test]
async fn names_are_taken_once() {
    let auth = Auth::start().await;
    let with =
        |username: &str, email: &str| RegisterRequest { email: email.into(), ..registration(username) };
    register(&auth, with("alice", "alice@example.org")).await.unwrap();
    assert_eq!(
        refusal(register(&auth, with("ALICE", "")).await),
        expected(Code::AlreadyExists, "USERNAME_TAKEN")
    );
    assert_eq!(
        refusal(register(&auth, with("bob", "Alice@Example.org")).await),
        expected(Code::AlreadyExists, "EMAIL_TAKEN")
    );
}

#[tokio::test]
async fn registration_can_be_closed() {
    let mut config = config();
    config.registration.open = false;
    let auth = Auth::with(config).await;
    let refused = refusal(register(&auth, registration("alice")).await);
    assert_eq!(refused, expected(Code::PermissionDenied, "REGISTRATION_CLOSED"));
}

#[tokio::test]
async fn a_registration_can_be_repeated_with_its_key() {
    let auth = Auth::start().await;
    let request = || RegisterRequest {
        idempotency_key: "k1".into(),
        email: "a@example.org".into(),
        ..registration("alice")
    };
    let first = register(&auth, request()).await.unwrap();
    assert_eq!(register(&auth, request()).await.unwrap(), first);
    for other in [
        RegisterRequest { username: "alicia".into(), ..request() },
        RegisterRequest { email: String::new(), ..request() },
        RegisterRequest { password: "wrong horse".into(), ..request() },
        RegisterRequest { external_reference: "/homes/alice".into(), ..request() },
    ] {
        assert_eq!(
            refusal(register(&auth, other).await),
            expected(Code::InvalidArgument, "IDEMPOTENCY_MISMATCH")
        );
    }
    auth.clock.advance(days(2));
    assert_eq!(refusal(register(&auth, request()).await), expected(Code::AlreadyExists, "USERNAME_TAKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_registration_many_times_at_once_makes_one_account() {
    let auth = Auth::start().await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let mut accounts = auth.accounts();
            let request = RegisterRequest { idempotency_key: "k1".into(), ..registration("alice") };
            tokio::spawn(async move { accounts.register(request).await })
        })
        .collect();
    let mut made = HashSet::new();
    for call in calls {
        made.insert(call.await.unwrap().unwrap().into_inner().account.unwrap().account_id);
    }
    assert_eq!(made.len(), 1);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_at_once() {
    let auth = Auth::start().await;
    let (kept, ended) = (auth.person("alice").await, auth.sign_in("alice", PASSWORD).await.unwrap());
    let foreign = auth.person("bob").await;
    for session in [&kept, &ended, &foreign] {
        auth.exchange(&session.handle).await.unwrap();
    }

    assert_eq!(
        refusal(change_password(&auth, &kept, "wrong horse", "battery staple").await),
        expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
    );
    assert_eq!(
        refusal(change_password(&auth, &kept, PASSWORD, "short").await),
        expected(Code::InvalidArgument, "INVALID_ACCOUNT")
    );
    auth.exchange(&ended.handle).await.unwrap();

    change_password(&auth, &kept, PASSWORD, "battery staple").await.unwrap();
    auth.exchange(&kept.handle).await.unwrap();
    auth.exchange(&foreign.handle).await.unwrap();
    assert_eq!(
        refusal(auth.exchange(&ended.handle).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
    // Here its token ends with it.
    assert_eq!(
        refusal(auth.accounts().get_account(by(&ended, GetAccountRequest {})).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
    assert_eq!(
        refusal(auth.sign_in("alice", PASSWORD).await),
        expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
    );
    auth.sign_in("alice", "battery staple").await.unwrap();
}

#[tokio::test]
async fn an_address_is_changed_by_whoever_knows_the_password() {
    let auth = Auth::start().await;
    let (alice, bob) = (auth.person("alice").await, auth.person("bob").await);
    let change = async |session: &CreateSessionResponse, password: &str, email: &str| {
        let request = ChangeEmailRequest {
            current_password: password.into(),
            email: email.into(),
            ..ChangeEmailRequest::default()
        };
        let answer = auth.accounts().change_email(by(session, request)).await?;
        Ok::<_, Status>(answer.into_inner().account.unwrap().email)
    };
    assert_eq!(change(&alice, PASSWORD, "a@example.org").await.unwrap(), "a@example.org");
    assert_eq!(
        refusal(change(&alice, "wrong horse", "").await),
        expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
    );
    assert_eq!(
        refusal(change(&alice, PASSWORD, "x").await),
        expected(Code::InvalidArgument, "INVALID_ACCOUNT")
    );
    assert_eq!(
        refusal(change(&bob, PASSWORD, "A@example.org").await),
        expected(Code::AlreadyExists, "EMAIL_TAKEN")
    );
    auth.sign_in("a@example.org", PASSWORD).await.unwrap();
    assert_eq!(change(&alice, PASSWORD, "").await.unwrap(), "");
    assert_eq!(change(&bob, PASSWORD, "A@example.org").await.unwrap(), "A@example.org");
}

#[tokio::test]
async fn guessing_the_current_password_is_limited_like_signing_in() {
    let mut config = config();
    config.rate_limits.enabled = true;
    let auth = Auth::with(config).await;
    let alice = auth.person("alice").await;
    for _ in 0..5 {
        let refused = refusal(change_password(&auth, &alice, "wrong horse", "battery staple").await);
        assert_eq!(refused, expected(Code::Unauthenticated, "WRONG_CREDENTIALS"));
    }
    let status = change_password(&auth, &alice, PASSWORD, "battery staple").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(retry_after(&status), Some(seconds(60)));
    auth.clock.advance(seconds(60));
    change_password(&auth, &alice, PASSWORD, "battery staple").await.unwrap();
}

#[tokio::test]
async fn registrations_from_one_source_are_limited() {
    let mut config = config();
    config.rate_limits.enabled = true;
    let auth = Auth::with(config).await;
    let from = |n: u32, address: &str| RegisterRequest {
        client_address: address.into(),
        ..registration(&format!("user{n}"))
    };
    for n in 0..10 {
        register(&auth, from(n, "192.0.2.1")).await.unwrap();
    }
    assert_eq!(
        refusal(register(&auth, from(10, "192.0.2.1")).await),
        expected(Code::ResourceExhausted, "RATE_LIMITED")
    );
    register(&auth, from(10, "192.0.2.2")).await.unwrap();
}

async fn delete(auth: &Auth, session: &CreateSessionResponse, password: &str) -> Result<(), Status> {
    let request = DeleteAccountRequest { current_password: password.into(), client_address: String::new() };
    auth.accounts().delete_account(by(session, request)).await.map(drop)
}

#[tokio::test]
async fn accounts_have_numbers_and_what_was_kept_with_them() {
    let auth = Auth::start().await;
    let register = async |username: &str| {
        let request =
            RegisterRequest { external_reference: format!("/homes/{username}"), ..registration(username) };
        Ok::<_, Status>(auth.accounts().register(request).await?.into_inner().account.unwrap())
    };
    let first = register("alice").await.unwrap();
    assert_eq!((first.number, first.external_reference.as_str()), (1, "/homes/alice"));
    register("ALICE").await.unwrap_err();
    let second = register("bob").await.unwrap();
    assert!(second.number > 1);
    let session = auth.sign_in("alice", PASSWORD).await.unwrap();
    assert_eq!(session.account.as_ref(), Some(&first));
    assert_eq!(auth.exchange(&session.handle).await.unwrap().account, Some(first));
}

#[tokio::test]
async fn an_account_is_deleted_by_whoever_knows_the_password() {
    let auth = Auth::start().await;
    let request = RegisterRequest {
        email: "alice@example.org".into(),
        idempotency_key: "k1".into(),
        ..registration("alice")
    };
    let made: Account =
        auth.accounts().register(request.clone()).await.unwrap().into_inner().account.unwrap();
    let (alice, other) =
        (auth.sign_in("alice", PASSWORD).await.unwrap(), auth.sign_in("alice", PASSWORD).await.unwrap());
    let bob = auth.person("bob").await;
    for session in [&alice, &other, &bob] {
        auth.exchange(&session.handle).await.unwrap();
    }
    for wrong in ["", "wrong horse"] {
        assert_eq!(
            refusal(delete(&auth, &alice, wrong).await),
            expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
        );
    }
    assert_eq!(
        refusal(delete(&auth, &alice, &"x".repeat(1025)).await),
        expected(Code::InvalidArgument, "INVALID_FIELD")
    );
    auth.exchange(&other.handle).await.unwrap();

    delete(&auth, &alice, PASSWORD).await.unwrap();
    for session in [&alice, &other] {
        assert_eq!(
            refusal(auth.exchange(&session.handle).await),
            expected(Code::Unauthenticated, "SESSION_INVALID")
        );
        assert_eq!(
            refusal(auth.accounts().get_account(by(session, GetAccountRequest {})).await),
            expected(Code::NotFound, "NOT_FOUND")
        );
    }
    assert_eq!(
        refusal(delete(&auth, &alice, PASSWORD).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
    for login in ["alice", "alice@example.org"] {
        assert_eq!(
            refusal(auth.sign_in(login, PASSWORD).await),
            expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
        );
    }
    auth.exchange(&bob.handle).await.unwrap();

    let again = auth.accounts().register(request).await.unwrap().into_inner().account.unwrap();
    assert_ne!(again.account_id, made.account_id);
    assert!(again.number > made.number);
}

#[tokio::test]
async fn guessing_the_password_to_delete_with_is_limited() {
    let mut config = config();
    config.rate_limits.enabled = true;
    let auth = Auth::with(config).await;
    let alice = auth.person("alice").await;
    for _ in 0..5 {
        delete(&auth, &alice, "wrong horse").await.unwrap_err();
    }
    assert_eq!(
        refusal(delete(&auth, &alice, PASSWORD).await),
        expected(Code::ResourceExhausted, "RATE_LIMITED")
    );
}

#[tokio::test]
async fn a_new_address_is_seen_at_once_here_and_within_five_seconds_elsewhere() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let replica = auth.replica(config()).await;
    let seen = async |upstream: &Upstream| {
        exchange(upstream, &alice.handle, false).await.unwrap().account.unwrap().email
    };
    assert_eq!((seen(&auth.upstream).await, seen(&replica).await), (String::new(), String::new()));
    let request = ChangeEmailRequest {
        current_password: PASSWORD.into(),
        email: "a@example.org".into(),
        ..ChangeEmailRequest::default()
    };
    auth.accounts().change_email(by(&alice, request)).await.unwrap();
    assert_eq!(seen(&auth.upstream).await, "a@example.org");
    auth.clock.advance(seconds(5));
    assert_eq!(seen(&replica).await, "a@example.org");
}
