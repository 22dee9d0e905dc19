//! Between the wire's messages and the service's own types.

use std::time::Duration;

use holdall_proto::auth::v1 as wire;
use holdall_proto::timestamp;
use holdall_runtime::token::{DELEGATED, VerifyingKey};

use crate::authority::{ActFor, Caller, Form};
use crate::domain::{
    AccessToken, Account, AccountId, Email, Error, HandleForm, Kind, Role, Rule, Session, SessionId,
};

pub fn caller(caller: &holdall_runtime::token::Caller) -> Caller {
    Caller {
        account_id: AccountId(caller.account_id),
        session_id: SessionId(caller.session_id),
        delegated: caller.kind == DELEGATED,
    }
}

pub fn account(account: &Account) -> wire::Account {
    wire::Account {
        account_id: account.id.to_string(),
        username: account.username.as_str().to_owned(),
        email: account.email.as_ref().map_or("", Email::as_str).to_owned(),
        role: match account.role {
            Role::Member => wire::Role::Member,
            Role::Admin => wire::Role::Admin,
            Role::System => wire::Role::System,
        }
        .into(),
        created_at: Some(timestamp(account.created_at)),
        number: account.number,
        external_reference: account.external_reference.clone(),
    }
}

pub fn form(request: &wire::RegisterRequest) -> Form<'_> {
    Form {
        username: &request.username,
        email: &request.email,
        password: &request.password,
        idempotency_key: &request.idempotency_key,
        client_address: &request.client_address,
        delegation: &request.delegation,
        imported_credential: &request.imported_credential,
        min_password_length: request.min_password_length,
        any_email: request.any_email,
        external_reference: &request.external_reference,
    }
}

pub fn act_for(account: Option<wire::act_for_request::Account>) -> Result<ActFor, Error> {
    match account {
        Some(wire::act_for_request::Account::Username(name)) => Ok(ActFor::username(&name)),
        Some(wire::act_for_request::Account::System(name)) => ActFor::system(&name),
        None => Err(Error::InvalidField { field: "account", rule: Rule::Empty }),
    }
}

pub fn session(session: &Session) -> wire::Session {
    wire::Session {
        session_id: session.id.to_string(),
        account_id: session.account_id.to_string(),
        kind: match session.kind {
            Kind::Web => wire::SessionKind::Web,
            Kind::Api => wire::SessionKind::Api,
            Kind::Sync => wire::SessionKind::Sync,
            Kind::Legacy => wire::SessionKind::Legacy,
        }
        .into(),
        device_name: session.device_name.clone(),
        created_at: Some(timestamp(session.created_at)),
        last_used_at: Some(timestamp(session.last_used_at)),
        expires_at: Some(timestamp(session.expires_at)),
    }
}

/// The kind that a request asks for; API when it asks for none.
pub fn kind(number: i32) -> Result<Kind, Error> {
    match wire::SessionKind::try_from(number) {
        Ok(wire::SessionKind::Web) => Ok(Kind::Web),
        Ok(wire::SessionKind::Unspecified | wire::SessionKind::Api) => Ok(Kind::Api),
        Ok(wire::SessionKind::Sync) => Ok(Kind::Sync),
        Ok(wire::SessionKind::Legacy) => Ok(Kind::Legacy),
        Err(_) => Err(Error::InvalidField { field: "kind", rule: Rule::UnknownValue }),
    }
}

/// How long a session is to live, where that is said.
pub fn lifetime(given: Option<prost_types::Duration>) -> Result<Option<Duration>, Error> {
    let Some(given) = given else { return Ok(None) };
    // prost's own conversion overflows at the smallest number of seconds.
    match (u64::try_from(given.seconds), u32::try_from(given.nanos)) {
        (Ok(seconds), Ok(nanos @ ..=999_999_999)) => Ok(Some(Duration::new(seconds, nanos))),
        _ => Err(Error::InvalidField { field: "lifetime", rule: Rule::NotPositive }),
    }
}

pub fn handle_form(uuid: bool) -> HandleForm {
    if uuid { HandleForm::Uuid } else { HandleForm::Long }
}

pub fn access_token(token: &AccessToken) -> wire::AccessToken {
    wire::AccessToken { token: token.token.clone(), expires_at: Some(timestamp(token.expires_at)) }
}

pub fn verifying_key(key: &VerifyingKey) -> wire::VerifyingKey {
    wire::VerifyingKey { key_id: key.kid.clone(), ed25519_public_key: key.public.to_vec().into() }
}
