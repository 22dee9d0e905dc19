//! `/file/buffer`.

mod incoming;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use holdall_proto::metadata::v1::{EntryKind, Version};
use http::header::{ACCEPT, CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::{NO_STORE, Refused, Result, failure, member, time_to_live};
use crate::App;
use crate::error::{Code, Error};
use crate::ops::Caller;
use crate::ops::buffer::{self, NewEntry};
use crate::ops::content::Opened;
use crate::transfer::download::{self, Asked};
use crate::web::{cookie, origin};

const X_DATA_TYPE: HeaderName = HeaderName::from_static("x-data-type");

/// What is in the buffer. Text is sent under the name of its owner.
pub async fn get(State(app): State<App>, uri: Uri, method: Method, headers: HeaderMap) -> Result {
    let caller = caller(&app, &uri, &headers).await?;
    let (entry, grant) = match buffer::get(&app.upstreams, &caller, String::new()).await {
        Ok(got) => got,
        Err(error) if error.code == Code::NotFound => {
            let message = format!("no data in buffer for user {}", caller.account().username);
            return Ok(answer(StatusCode::NOT_FOUND, &json!({"code": 0, "message": message})));
        }
        Err(error) => return Err(refusal(&error.of_read())),
    };
    let (kind, name) = match entry.kind() {
        EntryKind::File => (HeaderValue::from_static("file"), entry.name),
        EntryKind::Text | EntryKind::Unspecified => {
            (HeaderValue::from_static("text"), caller.account().username.clone())
        }
    };
    let version = Version {
        size: entry.size,
        media_type: entry.media_type,
        created_at: entry.created_at,
        // Another entry with the same bytes may be of another kind and name.
        content_etag: entry.entry_id,
        ..Version::default()
    };
    let asked = Asked { method: &method, headers: &headers, attachment: true };
    let opened = Opened { name, version, grant };
    let mut response =
        download::respond(&app.upstreams, opened, asked).await.map_err(|error| refusal(&error.of_read()))?;
    response.headers_mut().insert(X_DATA_TYPE, kind);
    Ok(response)
}

/// Puts text or a file into the buffer.
pub async fn put(State(app): State<App>, request: Request) -> Result {
    let (parts, body) = request.into_parts();
    origin::check(&app, &parts.uri, &parts.headers).map_err(|error| refusal(&error))?;
    let caller = caller(&app, &parts.uri, &parts.headers).await?;
    incoming::store(&app, &caller, &parts, body).await?;
    Ok(answer(StatusCode::OK, &json!({"code": 0, "message": "ok"})))
}

/// Makes an entry that stays as long as this API promises.
pub async fn store<S>(
    app: &App,
    caller: &Caller,
    kind: EntryKind,
    name: String,
    media_type: String,
    size: Option<u64>,
    body: S,
) -> Result<(), Error>
where
    S: Stream<Item = Result<Bytes, Error>> + Send + 'static,
{
    let entry = NewEntry { kind, name, size, media_type, time_to_live: Some(time_to_live(app)) };
    buffer::put(&app.upstreams, caller, entry, body).await?;
    Ok(())
}

/// The caller. Whoever is not signed in is sent to do that first, or told so when a page would be no use.
async fn caller(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<Caller> {
    if takes_pages(headers) {
        return member(app, uri, headers).await;
    }
    match cookie::caller(app, headers).await {
        Ok(caller) => caller.ok_or_else(|| refusal(&Code::Unauthenticated.into())),
        Err(error) => Err(refusal(&error)),
    }
}

/// Whether `Accept` leaves room for HTML (RFC 9110, §12.5.1).
fn takes_pages(headers: &HeaderMap) -> bool {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("*/*").split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .filter(|range| !range.is_empty())
        .peekable();
    ranges.peek().is_none()
        || ranges.any(|range| {
            ["*/*", "text/*", "text/html", "application/xhtml+xml"]
                .iter()
                .any(|page| range.eq_ignore_ascii_case(page))
        })
}

/// A failed request that the contract does not speak of.
fn refusal(error: &Error) -> Refused {
    let entry = error.entry();
    let status = match error.code {
        // Headers say it all, and a page would have to.
        Code::RangeNotSatisfiable | Code::PreconditionFailed => return failure(error).into(),
        Code::QuotaExceeded => StatusCode::PAYLOAD_TOO_LARGE,
        _ => entry.status,
    };
    let mut response = answer(status, &json!({"code": 1, "message": entry.title}));
    if let Some(delay) = error.retry_after {
        let seconds = delay.max(Duration::from_secs(1)).as_secs();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response.into()
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_for_those_who_take_them() {
        let takes = |accept: &'static str| {
            takes_pages(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(takes_pages(&HeaderMap::new()));
        for page in
            ["", "*/*", "text/html,application/xhtml+xml;q=0.9", "application/json, */*;q=0.1", "TEXT/HTML"]
        {
            assert!(takes(page), "{page}");
        }
        for program in ["application/json", "application/json, text/plain", "application/octet-stream"] {
            assert!(!takes(program), "{program}");
        }
    }
}
