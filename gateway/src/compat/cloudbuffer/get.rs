//! `/file/get`.

use axum::extract::State;
use holdall_proto::metadata::v1::LinkForm;
use http::{HeaderMap, Method, StatusCode, Uri};

use super::{Result, plain};
use crate::App;
use crate::error::Code;
use crate::ops::content::Opened;
use crate::ops::links;
use crate::transfer::download::{self, Asked};
use crate::transfer::fields::Fields;
use crate::web::ROBOTS;

/// The file that a token leads to. It needs no session, and whatever is wrong with the token looks alike.
pub async fn file(State(app): State<App>, uri: Uri, method: Method, headers: HeaderMap) -> Result {
    let bad = || plain(StatusCode::BAD_REQUEST, "");
    let query = Fields::urlencoded(uri.query().unwrap_or_default().as_bytes());
    let Some(token) = query.get("token").filter(|token| is_token(token)) else { return Ok(bad()) };
    let opened =
        match links::open(&app.upstreams, token.to_owned(), LinkForm::Token, method != Method::HEAD).await {
            Ok(opened) => opened,
            Err(error) if error.code == Code::NotFound => return Ok(bad()),
            Err(error) => return Err(error.of_read().into()),
        };
    let mut version = opened.version.ok_or(Code::BadGateway)?;
    // Always octets, as documented.
    version.media_type.clear();
    let opened = Opened { name: opened.name, version, grant: opened.read_grant };
    let asked = Asked { method: &method, headers: &headers, attachment: true };
    let mut response =
        download::respond(&app.upstreams, opened, asked).await.map_err(|error| error.of_read())?;
    response.headers_mut().insert(ROBOTS.0, ROBOTS.1);
    Ok(response)
}

/// 64 letters and digits.
fn is_token(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
