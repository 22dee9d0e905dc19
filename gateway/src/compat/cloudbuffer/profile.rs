//! `/account/profile`.

use askama::Template;
use axum::extract::State;
use http::{HeaderMap, StatusCode, Uri};

use super::{Result, member};
use crate::App;
use crate::ops::nodes;
use crate::web::{Nav, html, size};

#[derive(Template)]
#[template(path = "profile.html")]
struct Profile<'a> {
    nav: Nav,
    username: &'a str,
    email: &'a str,
    room: Option<Room>,
}

/// How full the space is.
struct Room {
    used: String,
    quota: String,
    used_bytes: u64,
    quota_bytes: u64,
}

/// Who somebody is, and how much room they have left. The room is left out when it cannot be asked for.
pub async fn page(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result {
    let caller = member(&app, &uri, &headers).await?;
    let room = nodes::space(&app.upstreams, &caller).await.ok().map(|space| Room {
        used: size(space.used_bytes),
        quota: size(space.quota_bytes),
        used_bytes: space.used_bytes,
        quota_bytes: space.quota_bytes,
    });
    let account = caller.account();
    let page = Profile {
        nav: Nav::of(Some(&caller), "/account/profile"),
        username: &account.username,
        email: &account.email,
        room,
    };
    Ok(html(StatusCode::OK, &page))
}
