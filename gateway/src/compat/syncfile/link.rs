//! `f`: the file that a short link leads to.

use axum::extract::State;
use axum::response::Response;
use holdall_proto::metadata::v1::LinkForm;
use http::header::CONTENT_RANGE;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::answer::{NO_FILE, Refusal};
use super::parameters::Parameters;
use crate::App;
use crate::error::{Code, Error, Result};
use crate::ops::links;
use crate::transfer::download::{self, Asked};
use crate::web::ROBOTS;

/// `f`: the file itself, to be saved. The id is the proof; nobody is asked who they are.
pub async fn download(State(app): State<App>, uri: Uri, method: Method, headers: HeaderMap) -> Response {
    match open(&app, &uri, &method, &headers).await {
        Ok(mut response) => {
            response.headers_mut().insert(ROBOTS.0, ROBOTS.1);
            response
        }
        Err(error) => failure(error.of_read()),
    }
}

async fn open(app: &App, uri: &Uri, method: &Method, headers: &HeaderMap) -> Result<Response> {
    let parameters = Parameters::of_query(uri, headers);
    // Hexadecimal digits may be of either case.
    let slug = parameters.get("id").to_ascii_lowercase();
    let opened = links::open(&app.upstreams, slug, LinkForm::Uuid, *method != Method::HEAD).await?;
    let opened = links::content(opened)?;
    download::respond_as_stored(&app.upstreams, opened, Asked { method, headers, attachment: true }).await
}

/// Browsers come here, so the status tells what happened.
fn failure(error: Error) -> Response {
    let (code, size) = (error.code, error.size);
    let refusal = if code == Code::NotFound { NO_FILE.into() } else { Refusal::from(error) };
    let mut response = refusal.with_status(code.entry().status);
    if let Some(range) = size.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok()) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    response
}
