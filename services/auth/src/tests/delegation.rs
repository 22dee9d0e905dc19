//! Acting for others.

use holdall_proto::auth::v1::act_for_request::Account as Whom;
use holdall_proto::auth::v1::delegation_service_client::DelegationServiceClient;
use holdall_proto::auth::v1::{
    Account, ActForRequest, ActForResponse, ChangeEmailRequest, ChangePasswordRequest, DeleteAccountRequest,
    GetAccountRequest, GetImportedCredentialRequest, ListSessionsRequest, RegisterRequest,
    RevokeSessionRequest, Role,
};
use holdall_runtime::status::field_violations;

use super::*;
use crate::delegation::{ACT_FOR, REGISTER};

/// `correct horse`, hashed elsewhere.
const IMPORTED: &str = "$1$deadbeef$dedjvjO4ZAEydph55Edcn/";

async fn act_for(upstream: &Upstream, sealed: Vec<u8>, whom: Option<Whom>) -> Result<ActForResponse, Status> {
    let request = ActForRequest { delegation: sealed.into(), account: whom };
    let answer = DelegationServiceClient::new(upstream.clone()).act_for(request).await;
    answer.map(tonic::Response::into_inner)
}

fn username(name: &str) -> Option<Whom> {
    Some(Whom::Username(name.to_owned()))
}

fn system(name: &str) -> Option<Whom> {
    Some(Whom::System(name.to_owned()))
}

/// A request of whoever acts for an account.
fn for_it<T>(acting: &ActForResponse, message: T) -> Request<T> {
    let mut request = Request::new(message);
    bearer(&mut request, &acting.access_token.as_ref().unwrap().token).unwrap();
    request
}

impl Auth {
    async fn act_for(&self, name: &str) -> ActForResponse {
        act_for(&self.upstream, delegation(ACT_FOR), username(name)).await.unwrap()
    }

    async fn system(&self, name: &str) -> ActForResponse {
        act_for(&self.upstream, delegation(ACT_FOR), system(name)).await.unwrap()
    }

    async fn import(&self, request: RegisterRequest) -> Result<Account, Status> {
        let request = RegisterRequest { delegation: delegation(REGISTER).into(), ..request };
        Ok(self.accounts().register(request).await?.into_inner().account.unwrap())
    }

    async fn imported_credential(&self, acting: &ActForResponse) -> Result<String, Status> {
        let request = for_it(acting, GetImportedCredentialRequest {});
        Ok(self.accounts().get_imported_credential(request).await?.into_inner().imported_credential)
    }
}

fn imported(username: &str, credential: &str) -> RegisterRequest {
    RegisterRequest {
        username: username.into(),
        imported_credential: credential.into(),
        ..RegisterRequest::default()
    }
}

#[tokio::test]
async fn whoever_has_a_delegation_acts_for_an_account_by_its_username() {
    let auth = Auth::delegating().await;
    let request = RegisterRequest { email: "alice@example.org".into(), ..registration("alice") };
    let alice = auth.accounts().register(request).await.unwrap().into_inner().account.unwrap();
    let acting = auth.act_for("ALICE").await;
    assert_eq!(acting.account.as_ref(), Some(&alice));
    let token = acting.access_token.as_ref().unwrap();
    assert_eq!(since_start(&token.expires_at), 300_000_000);

    let read = auth.accounts().get_account(for_it(&acting, GetAccountRequest {})).await.unwrap();
    assert_eq!(read.into_inner().account.as_ref(), Some(&alice));
    // There is no session behind it.
    let list = for_it(&acting, ListSessionsRequest::default());
    assert_eq!(auth.sessions().list_sessions(list).await.unwrap().into_inner().sessions, []);
    let revoke = for_it(&acting, RevokeSessionRequest::default());
    assert_eq!(refusal(auth.sessions().revoke_session(revoke).await), expected(Code::NotFound, "NOT_FOUND"));
    let session = auth.sign_in("alice", PASSWORD).await.unwrap().session.unwrap();
    let revoke = for_it(&acting, RevokeSessionRequest { session_id: session.session_id });
    auth.sessions().revoke_session(revoke).await.unwrap();

    for nobody in ["alice@example.org", "bob", "", "a\0", "system/open-store"] {
        let refused = act_for(&auth.upstream, delegation(ACT_FOR), username(nobody)).await;
        assert_eq!(refusal(refused), expected(Code::NotFound, "NOT_FOUND"), "{nobody:?}");
    }
}

#[tokio::test]
async fn without_a_good_delegation_nobody_acts_for_others() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    let good = delegation(ACT_FOR);
    for bad in [
        Vec::new(),
        vec![1, 2, 3],
        good[..good.len() - 1].to_vec(),
        delegation(REGISTER),
        delegation(""),
        sealed(&[9; 32], ACT_FOR, NOW + 60_000_000),
        sealed(&DELEGATION_KEYS[0], ACT_FOR, NOW),
    ] {
        assert_eq!(
            refusal(act_for(&auth.upstream, bad, username("alice")).await),
            expected(Code::Unauthenticated, "GRANT_INVALID")
        );
    }
    // The second key opens too.
    let second = sealed(&DELEGATION_KEYS[1], ACT_FOR, NOW + 60_000_000);
    act_for(&auth.upstream, second, username("alice")).await.unwrap();
    // What was given out once is not given to whoever comes too late.
    auth.clock.advance(seconds(60));
    assert_eq!(
        refusal(act_for(&auth.upstream, good, username("alice")).await),
        expected(Code::Unauthenticated, "GRANT_INVALID")
    );
    let keyless = auth.replica(config()).await;
    let good = sealed(&DELEGATION_KEYS[0], ACT_FOR, NOW + 600_000_000);
    assert_eq!(
        refusal(act_for(&keyless, good, username("alice")).await),
        expected(Code::Unauthenticated, "GRANT_INVALID")
    );
}

#[tokio::test]
async fn an_account_has_to_be_named() {
    let auth = Auth::delegating().await;
    for (whom, field) in [
        (None, "account"),
        (system(""), "system"),
        (system("Open"), "system"),
        (system("a/b"), "system"),
        (system(&"a".repeat(33)), "system"),
    ] {
        let status = act_for(&auth.upstream, delegation(ACT_FOR), whom).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&status).as_deref(), Some("INVALID_FIELD"));
        assert_eq!(field_violations(&status)[0].0, field);
    }
}

#[tokio::test]
async fn a_token_to_act_with_is_handed_out_again_while_it_lasts() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    let token = async || {
        let good = sealed(&DELEGATION_KEYS[0], ACT_FOR, NOW + 600_000_000);
        act_for(&auth.upstream, good, username("alice")).await.unwrap().access_token.unwrap()
    };
    let first = token().await;
    auth.clock.advance(seconds(239));
    assert_eq!(token().await, first);
    auth.clock.advance(seconds(1));
    let second = token().await;
    assert_ne!(second, first);
    assert_eq!(since_start(&second.expires_at), 540_000_000);
}

#[tokio::test]
async fn a_disabled_account_may_not_be_used() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    let acting = auth.act_for("alice").await;
    assert_eq!(holdall_proto::span_us(acting.reusable_for.as_ref()), 5_000_000);
    auth.execute("UPDATE accounts SET state = 'disabled'").await;
    assert_eq!(
        refusal(auth.accounts().get_account(for_it(&acting, GetAccountRequest {})).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
    auth.clock.advance(seconds(5));
    assert_eq!(
        refusal(act_for(&auth.upstream, delegation(ACT_FOR), username("alice")).await),
        expected(Code::NotFound, "NOT_FOUND")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_account_is_made_at_the_first_call() {
    let auth = Auth::delegating().await;
    let replica = auth.replica(auth.config()).await;
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let upstream = if n % 2 == 0 { auth.upstream.clone() } else { replica.clone() };
            tokio::spawn(async move { act_for(&upstream, delegation(ACT_FOR), system("open-store")).await })
        })
        .collect();
    let mut accounts = Vec::new();
    for call in calls {
        accounts.push(call.await.unwrap().unwrap().account.unwrap());
    }
    accounts.dedup();
    assert_eq!(accounts.len(), 1);
    assert_eq!((accounts[0].username.as_str(), accounts[0].role()), ("system/open-store", Role::System));
    assert!(accounts[0].number > 0);
    let other = auth.system("anonymous").await.account.unwrap();
    assert_ne!(other.account_id, accounts[0].account_id);
    assert_ne!(other.number, accounts[0].number);
}

#[tokio::test]
async fn nobody_signs_in_to_a_system_account_or_changes_it() {
    let auth = Auth::delegating().await;
    let acting = auth.system("open-store").await;
    let mut seen = Vec::new();
    for login in ["system/open-store", "nobody"] {
        for password in ["", PASSWORD] {
            let status = auth.sign_in(login, password).await.unwrap_err();
            seen.push((status.code(), status.message().to_owned(), status.details().to_vec()));
        }
    }
    seen.dedup();
    assert_eq!((seen.len(), seen[0].0), (1, Code::Unauthenticated));

    let forbidden = expected(Code::PermissionDenied, "FORBIDDEN");
    let request = ChangePasswordRequest { new_password: PASSWORD.into(), ..Default::default() };
    assert_eq!(refusal(auth.accounts().change_password(for_it(&acting, request)).await), forbidden);
    let request = ChangePasswordRequest { imported_credential: IMPORTED.into(), ..Default::default() };
    assert_eq!(refusal(auth.accounts().change_password(for_it(&acting, request)).await), forbidden);
    let request = ChangeEmailRequest { email: "a@example.org".into(), ..Default::default() };
    assert_eq!(refusal(auth.accounts().change_email(for_it(&acting, request)).await), forbidden);
    let request = DeleteAccountRequest::default();
    assert_eq!(refusal(auth.accounts().delete_account(for_it(&acting, request)).await), forbidden);
    auth.accounts().get_account(for_it(&acting, GetAccountRequest {})).await.unwrap();
}

#[tokio::test]
async fn a_registration_that_goes_beyond_the_rules_needs_a_delegation() {
    let auth = Auth::delegating().await;
    let good = || registration("alice");
    for (request, field) in [
        (RegisterRequest { password: String::new(), ..imported("alice", IMPORTED) }, "imported_credential"),
        (RegisterRequest { min_password_length: 1, ..good() }, "min_password_length"),
        (RegisterRequest { any_email: true, ..good() }, "any_email"),
    ] {
        let status = auth.accounts().register(request.clone()).await.unwrap_err();
        assert_eq!(reason_of(&status).as_deref(), Some("INVALID_FIELD"), "{field}");
        assert_eq!(field_violations(&status)[0].0, field);
        for bad in [vec![1], delegation(ACT_FOR), sealed(&[9; 32], REGISTER, NOW + 60_000_000)] {
            let request = RegisterRequest { delegation: bad.into(), ..request.clone() };
            assert_eq!(
                refusal(auth.accounts().register(request).await),
                expected(Code::Unauthenticated, "GRANT_INVALID"),
                "{field}"
            );
        }
    }
    // One that is not good is refused even where it is not needed.
    let request = RegisterRequest { delegation: vec![1].into(), ..good() };
    assert_eq!(
        refusal(auth.accounts().register(request).await),
        expected(Code::Unauthenticated, "GRANT_INVALID")
    );
    let keyless = AccountServiceClient::new(auth.replica(config()).await);
    let request = RegisterRequest { delegation: delegation(REGISTER).into(), ..good() };
    assert_eq!(
        refusal(keyless.clone().register(request).await),
        expected(Code::Unauthenticated, "GRANT_INVALID")
    );
    auth.accounts().register(good()).await.expect("no account was left behind");
}

#[tokio::test]
async fn a_delegated_registration_may_go_beyond_the_rules() {
    let auth = Auth::delegating().await;
    let request = RegisterRequest {
        password: "abc".into(),
        min_password_length: 3,
        email: " no address ".into(),
        any_email: true,
        ..registration("alice")
    };
    assert_eq!(auth.import(request).await.unwrap().email, " no address ");
    auth.sign_in(" No Address ", "abc").await.unwrap();
    assert_eq!(auth.act_for("alice").await.account.unwrap().email, " no address ");

    let bad = |request| async { reason_of(&auth.import(request).await.unwrap_err()).unwrap() };
    for (request, reason) in [
        (
            RegisterRequest { password: "ab".into(), min_password_length: 3, ..registration("bob") },
            "INVALID_ACCOUNT",
        ),
        (RegisterRequest { min_password_length: 30, ..registration("bob") }, "INVALID_ACCOUNT"),
        (RegisterRequest { any_email: true, email: "a\nb".into(), ..registration("bob") }, "INVALID_ACCOUNT"),
        (
            RegisterRequest { any_email: true, email: "x".repeat(255), ..registration("bob") },
            "INVALID_ACCOUNT",
        ),
        (RegisterRequest { email: "no address".into(), ..registration("bob") }, "INVALID_ACCOUNT"),
        (RegisterRequest { password: PASSWORD.into(), ..imported("bob", IMPORTED) }, "INVALID_FIELD"),
        (imported("bob", &"x".repeat(1025)), "INVALID_FIELD"),
        (imported("bob", "$1$a\tb"), "INVALID_FIELD"),
        (imported("bob", ""), "INVALID_ACCOUNT"),
        (
            RegisterRequest { any_email: true, email: " No address ".into(), ..registration("bob") },
            "EMAIL_TAKEN",
        ),
    ] {
        assert_eq!(bad(request).await, reason);
    }
}

#[tokio::test]
async fn closed_registration_is_closed_for_all() {
    let auth = Auth::delegating().await;
    let mut config = auth.config();
    config.registration.open = false;
    let mut accounts = AccountServiceClient::new(auth.replica(config).await);
    let request = RegisterRequest { delegation: delegation(REGISTER).into(), ..imported("alice", IMPORTED) };
    assert_eq!(
        refusal(accounts.register(request).await),
        expected(Code::PermissionDenied, "REGISTRATION_CLOSED")
    );
}

#[tokio::test]
async fn an_import_can_be_repeated_with_its_key() {
    let auth = Auth::delegating().await;
    let request = || RegisterRequest {
        idempotency_key: "k1".into(),
        email: "a@example.org".into(),
        any_email: true,
        external_reference: "/homes/alice".into(),
        ..imported("alice", IMPORTED)
    };
    let first = auth.import(request()).await.unwrap();
    assert_eq!(first.external_reference, "/homes/alice");
    auth.sign_in("alice", PASSWORD).await.unwrap();
    assert_eq!(auth.import(request()).await.unwrap(), first);
    for other in [
        RegisterRequest { imported_credential: "$1$deadbeef$x".into(), ..request() },
        RegisterRequest { imported_credential: String::new(), password: PASSWORD.into(), ..request() },
        RegisterRequest { external_reference: String::new(), ..request() },
        RegisterRequest { any_email: false, ..request() },
        RegisterRequest { min_password_length: 1, ..request() },
    ] {
        assert_eq!(
            refusal(auth.import(other).await),
            expected(Code::InvalidArgument, "IDEMPOTENCY_MISMATCH")
        );
    }
}

#[tokio::test]
async fn an_imported_credential_is_signed_in_with_and_hashed_anew() {
    let auth = Auth::delegating().await;
    auth.import(imported("alice", IMPORTED)).await.unwrap();
    assert_eq!(auth.credential("alice").await, IMPORTED);
    for wrong in ["wrong horse", "", IMPORTED] {
        assert_eq!(
            refusal(auth.sign_in("alice", wrong).await),
            expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
        );
    }
    assert_eq!(auth.credential("alice").await, IMPORTED);
    for _ in 0..2 {
        auth.sign_in("alice", PASSWORD).await.unwrap();
        assert!(auth.credential("alice").await.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
    }
    assert_eq!(
        refusal(auth.sign_in("alice", "wrong horse").await),
        expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
    );
    // It stays as it was given, until the password is changed.
    let acting = auth.act_for("alice").await;
    assert_eq!(auth.imported_credential(&acting).await.unwrap(), IMPORTED);
    let alice = auth.sign_in("alice", PASSWORD).await.unwrap();
    let request = ChangePasswordRequest {
        current_password: PASSWORD.into(),
        new_password: "battery staple".into(),
        ..Default::default()
    };
    auth.accounts().change_password(by(&alice, request)).await.unwrap();
    assert_eq!(refusal(auth.imported_credential(&acting).await), expected(Code::NotFound, "NOT_FOUND"));
}

#[tokio::test]
async fn what_matches_no_password_is_kept_all_the_same() {
    let auth = Auth::delegating().await;
    let odd = " §legacy§ no scheme at all ";
    auth.import(imported("alice", odd)).await.unwrap();
    for password in ["", odd, PASSWORD] {
        assert_eq!(
            refusal(auth.sign_in("alice", password).await),
            expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
        );
    }
    assert_eq!(auth.imported_credential(&auth.act_for("alice").await).await.unwrap(), odd);
}

#[tokio::test]
async fn an_imported_credential_is_shown_to_delegated_callers_alone() {
    let auth = Auth::delegating().await;
    auth.import(imported("alice", IMPORTED)).await.unwrap();
    let alice = auth.sign_in("alice", PASSWORD).await.unwrap();
    let request = by(&alice, GetImportedCredentialRequest {});
    assert_eq!(
        refusal(auth.accounts().get_imported_credential(request).await),
        expected(Code::PermissionDenied, "FORBIDDEN")
    );
    auth.register("bob").await;
    let bob = auth.act_for("bob").await;
    assert_eq!(refusal(auth.imported_credential(&bob).await), expected(Code::NotFound, "NOT_FOUND"));
}

#[tokio::test]
async fn a_delegated_caller_sets_a_password_without_the_old_one() {
    let auth = Auth::delegating().await;
    let alice = auth.person("alice").await;
    auth.exchange(&alice.handle).await.unwrap();
    let acting = auth.act_for("alice").await;
    let change = async |new: &str, crypt: &str| {
        let request = ChangePasswordRequest {
            current_password: "x".repeat(2_000),
            new_password: new.into(),
            imported_credential: crypt.into(),
            ..Default::default()
        };
        auth.accounts().change_password(for_it(&acting, request)).await.map(drop)
    };
    for (new, crypt, reason) in [
        ("short", "", "INVALID_ACCOUNT"),
        ("", "", "INVALID_ACCOUNT"),
        ("battery staple", IMPORTED, "INVALID_FIELD"),
        ("", "a\nb", "INVALID_FIELD"),
    ] {
        assert_eq!(refusal(change(new, crypt).await), expected(Code::InvalidArgument, reason));
    }
    auth.exchange(&alice.handle).await.unwrap();

    change("battery staple", "").await.unwrap();
    assert_eq!(
        refusal(auth.exchange(&alice.handle).await),
        expected(Code::Unauthenticated, "SESSION_INVALID"),
        "every session ends"
    );
    auth.sign_in("alice", "battery staple").await.unwrap();
    assert_eq!(refusal(auth.imported_credential(&acting).await), expected(Code::NotFound, "NOT_FOUND"));

    change("", IMPORTED).await.unwrap();
    assert!(auth.sign_in("alice", "battery staple").await.is_err());
    auth.sign_in("alice", PASSWORD).await.unwrap();
    assert_eq!(auth.imported_credential(&acting).await.unwrap(), IMPORTED);
}

#[tokio::test]
async fn what_only_delegated_callers_may_set_is_refused_by_name() {
    let auth = Auth::delegating().await;
    let alice = auth.person("alice").await;
    let request = ChangePasswordRequest {
        current_password: PASSWORD.into(),
        imported_credential: IMPORTED.into(),
        ..Default::default()
    };
    let status = auth.accounts().change_password(by(&alice, request)).await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("INVALID_FIELD"));
    assert_eq!(field_violations(&status)[0].0, "imported_credential");
    let request = ChangeEmailRequest {
        current_password: PASSWORD.into(),
        email: "no address".into(),
        any_email: true,
        ..Default::default()
    };
    let status = auth.accounts().change_email(by(&alice, request)).await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("INVALID_FIELD"));
    assert_eq!(field_violations(&status)[0].0, "any_email");
}

#[tokio::test]
async fn a_delegated_caller_changes_the_address_without_a_password() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    auth.register("bob").await;
    let acting = auth.act_for("alice").await;
    let change = async |email: &str, any_email: bool| {
        let request = ChangeEmailRequest { email: email.into(), any_email, ..Default::default() };
        let answer = auth.accounts().change_email(for_it(&acting, request)).await?;
        Ok::<_, Status>(answer.into_inner().account.unwrap().email)
    };
    assert_eq!(change("no address", true).await.unwrap(), "no address");
    assert_eq!(auth.act_for("alice").await.account.unwrap().email, "no address", "at once");
    assert_eq!(change("a@example.org", false).await.unwrap(), "a@example.org");
    assert_eq!(
        refusal(change("no address", false).await),
        expected(Code::InvalidArgument, "INVALID_ACCOUNT")
    );
    assert_eq!(refusal(change("Bob", true).await), expected(Code::AlreadyExists, "EMAIL_TAKEN"));
    assert_eq!(change("", true).await.unwrap(), "");
}

#[tokio::test]
async fn a_delegated_caller_deletes_an_account_without_a_password() {
    let auth = Auth::delegating().await;
    let alice = auth.person("alice").await;
    let acting = auth.act_for("alice").await;
    let delete = async || {
        let request = for_it(&acting, DeleteAccountRequest::default());
        auth.accounts().delete_account(request).await.map(drop)
    };
    delete().await.unwrap();
    assert_eq!(
        refusal(auth.exchange(&alice.handle).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
    assert_eq!(
        refusal(act_for(&auth.upstream, delegation(ACT_FOR), username("alice")).await),
        expected(Code::NotFound, "NOT_FOUND"),
        "at once"
    );
    assert_eq!(refusal(delete().await), expected(Code::Unauthenticated, "SESSION_INVALID"));
    assert_eq!(
        refusal(auth.accounts().get_account(for_it(&acting, GetAccountRequest {})).await),
        expected(Code::NotFound, "NOT_FOUND")
    );
}
