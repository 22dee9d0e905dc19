//! What calls answer: the table of the manual, word for word.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Code, Error};

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    code: u16,
    success: bool,
    msg: &'static str,
}

const fn success(code: u16, msg: &'static str) -> Outcome {
    Outcome { code, success: true, msg }
}

const fn error(code: u16, msg: &'static str) -> Outcome {
    Outcome { code, success: false, msg }
}

pub const REGISTERED: Outcome = success(1000, "registered a new user.");
pub const USERNAME_TAKEN: Outcome = error(1001, "the user has been registered, please change the user name");
pub const EMAIL_TAKEN: Outcome = error(1002, "the email has been registered, please change the email");
pub const BLANK: Outcome = error(1003, "blank username/password/email");
pub const USERNAME_CHARACTERS: Outcome =
    error(1004, r#"username cannot contain the following characters: \/:*?"<>|"#);

pub const SIGNED_IN: Outcome = success(1010, "auth id get ok");
pub const WRONG_CREDENTIALS: Outcome =
    error(1011, "auth failure. user is not registered or user name/password incorrect");

pub const ALIVE: Outcome = success(1020, "valid authid, and auth still alive");
pub const NOT_ALIVE: Outcome = error(1021, "invalid authid");

pub const FOLDER_MADE: Outcome = success(1100, "folder created successfully");
pub const FOLDER_EXISTS: Outcome = error(1101, "folder already exist");
pub const SEPARATOR_AT_END: Outcome = error(1102, r"folder path should not ended with \");
pub const NO_PARENT: Outcome =
    error(1103, r"folder path error. the parent folde should be created firstly. and use \");

pub const DETAILS: Outcome = success(1120, "folder details info");
pub const NO_DETAILS: Outcome = error(1121, "foler not exist. please check path format & content");

/// The message names the folder: see [`Answer::msg`].
pub const RENAMED: Outcome = success(1130, "renamed folder");
pub const NOT_RENAMED: Outcome = error(1131, "requested folder not exist");

pub const REMOVED: Outcome = success(1140, "folder removed");
pub const NOT_REMOVED: Outcome = error(1141, "requested folder not exist. or path format error(use /)");

pub const LISTED: Outcome = success(1150, "get folder list");
pub const NOT_LISTED: Outcome = error(1151, "requested folder not exist. or path format error(use /)");

pub const UPLOADED_FORM: Outcome = success(1200, "file uploaded by form successfully");
pub const UPLOADED_RAW: Outcome = success(1210, "file uploaded by POST successfully");
pub const UNSUPPORTED_OP: Outcome = error(1201, "not support this op(POST only support op=upload)");
pub const FILE_EXISTS: Outcome = error(1202, "file already exist at server dir");
pub const RAW_FAILED: Outcome = error(1203, "file creation exception(pure OST)");
pub const FORM_FAILED: Outcome = error(1204, "file creation exception(form POST)");
/// A file of that name is known, and its content is gone.
pub const FILE_IN_RECORDS: Outcome = error(1205, "file already exist at DB");
pub const INCORRECT: Outcome = error(1206, "Incorrect API format, please check manual");

/// The message is the link: see [`Answer::msg`].
pub const LINK: Outcome = success(1220, "");
pub const NO_FILE: Outcome = error(1221, "file not exists");
pub const BUSY: Outcome = error(1222, "server busy, repeat again");

/// What every answer carries: answers hold authids, and so do the URLs of requests.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// An outcome with what belongs to it.
#[derive(Clone, Debug)]
pub struct Answer {
    outcome: Outcome,
    msg: Cow<'static, str>,
    more: Map<String, Value>,
    /// Seconds.
    retry_after: Option<u64>,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, msg: outcome.msg.into(), more: Map::new(), retry_after: None }
    }
}

impl Outcome {
    /// The outcome with another field.
    pub fn with(self, field: &str, value: impl Into<Value>) -> Answer {
        Answer::from(self).with(field, value)
    }

    /// The outcome with the fields of something larger.
    pub fn with_all(self, more: &impl Serialize) -> Response {
        send(self, self.msg, more)
    }

    /// The outcome with a message of its own.
    pub fn msg(self, msg: impl Into<Cow<'static, str>>) -> Answer {
        Answer { msg: msg.into(), ..self.into() }
    }
}

impl Answer {
    /// The answer with a reason at the end of its message.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        Self { msg: format!("{}: {reason}", self.msg).into(), ..self }
    }

    /// The answer with another field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = send(self.outcome, &self.msg, &self.more);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[derive(Serialize)]
struct Body<'a, T> {
    error_code: u16,
    msg: &'a str,
    status: &'static str,
    #[serde(flatten)]
    more: &'a T,
}

fn send(outcome: Outcome, msg: &str, more: &impl Serialize) -> Response {
    let status = if outcome.success { "success" } else { "error" };
    match serde_json::to_vec(&Body { error_code: outcome.code, msg, status, more }) {
        Ok(body) => (HEADERS, body).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write an answer");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        Answer::from(self).into_response()
    }
}

/// Why a call ends otherwise than well.
#[derive(Clone, Debug)]
pub struct Refusal(Box<Answer>);

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self(Box::new(answer))
    }
}

impl From<Outcome> for Refusal {
    fn from(outcome: Outcome) -> Self {
        Answer::from(outcome).into()
    }
}

/// What fails in every call alike. What is particular to a call is told apart by [`Refusal::of`].
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let entry = error.entry();
        if error.code == Code::Unauthenticated {
            return NOT_ALIVE.with("auth_time", "").into();
        }
        if error.code == Code::RegistrationClosed {
            return INCORRECT.msg(entry.detail).into();
        }
        if entry.status.is_server_error() || entry.retryable {
            let retry_after = error.retry_after.map(|delay| delay.as_secs().max(1));
            return Answer { retry_after, ..BUSY.into() }.into();
        }
        INCORRECT.into()
    }
}

impl Refusal {
    /// The refusal of a call that names a node: `outcome` when that is not there, cannot be there, or is of the wrong
    /// kind.
    pub fn of(error: Error, outcome: impl Into<Answer>) -> Self {
        if is_about_the_node(error.code) { outcome.into().into() } else { error.into() }
    }

    /// The refusal with another field.
    #[must_use]
    pub fn with(self, field: &str, value: impl Into<Value>) -> Self {
        Self(Box::new(self.0.with(field, value)))
    }

    /// With a status other than 200, for what is no call of the API.
    pub fn with_status(self, status: StatusCode) -> Response {
        (status, *self.0).into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

fn is_about_the_node(code: Code) -> bool {
    matches!(
        code,
        Code::NotFound
            | Code::InvalidName
            | Code::InvalidPath
            | Code::InvalidField
            | Code::InvalidEncoding
            | Code::NotAFolder
            | Code::NotAFile
            | Code::RootImmutable
            | Code::WouldCycle
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn body(response: Response) -> String {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn answers_have_the_shape_of_the_manual() {
        assert_eq!(
            body(REGISTERED.into_response()).await,
            r#"{"error_code":1000,"msg":"registered a new user.","status":"success"}"#
        );
        assert_eq!(
            body(WRONG_CREDENTIALS.with("authid", "").into_response()).await,
            r#"{"error_code":1011,"msg":"auth failure. user is not registered or user name/password incorrect","status":"error","authid":""}"#
        );
    }

    #[tokio::test]
    async fn every_error_has_a_row() {
        for &code in Code::ALL {
            let text = body(Refusal::from(Error::new(code)).into_response()).await;
            let expected = match code {
                Code::Unauthenticated => 1021,
                code if code.entry().retryable || code.entry().status.is_server_error() => 1222,
                _ => 1206,
            };
            assert!(text.contains(&format!("\"error_code\":{expected},")), "{code:?} {text}");
            assert_eq!(text.contains("\"auth_time\":\"\""), expected == 1021);
        }
    }

    #[test]
    fn only_what_is_wrong_with_the_node_is_told_as_such() {
        let told = |code: Code| Refusal::of(code.into(), NO_FILE).0.outcome;
        assert_eq!(told(Code::NotFound), NO_FILE);
        assert_eq!(told(Code::Unavailable), BUSY);
        assert_eq!(told(Code::Unauthenticated), NOT_ALIVE);
    }
}
