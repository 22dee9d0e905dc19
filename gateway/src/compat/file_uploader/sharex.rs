//! The configuration of ShareX, a program that uploads screenshots.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::CONTENT_DISPOSITION;
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;

use super::answer::json;
use crate::App;
use crate::error::Code;
use crate::transfer::disposition::{Disposition, content_disposition};
use crate::web;

/// The name of the file.
const NAME: &str = "File uploader.sxcu";
/// The same without the blank.
const PLAIN_NAME: &str = "sharex.sxcu";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    version: &'static str,
    name: &'static str,
    destination_type: &'static str,
    request_method: &'static str,
    #[serde(rename = "RequestURL")]
    request_url: String,
    parameters: Parameters,
    body: &'static str,
    file_form_name: &'static str,
    #[serde(rename = "URL")]
    url: &'static str,
    #[serde(rename = "DeletionURL")]
    deletion_url: String,
    error_message: &'static str,
}

#[derive(Serialize)]
struct Parameters {
    include_ext: &'static str,
}

/// `GET /uploaders/File%20uploader.sxcu`: what is to be opened with ShareX.
pub async fn configuration(
    State(app): State<App>,
    file: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, web::Failure> {
    let Path(file) = file.map_err(|_| Code::NotFound)?;
    if file != NAME && file != PLAIN_NAME {
        return Err(Code::NotFound.into());
    }
    let base = app.base_url(&uri, &headers)?;
    let configuration = Configuration {
        version: "15.0.0",
        name: "File uploader",
        destination_type: "ImageUploader, FileUploader",
        request_method: "POST",
        request_url: format!("{base}/api/upload"),
        parameters: Parameters { include_ext: "true" },
        body: "MultipartFormData",
        file_form_name: "file",
        url: "{json:file_url_full}",
        deletion_url: format!("{base}/api/delete/{{json:file_url}}?key={{json:key}}"),
        error_message: "{json:message}",
    };
    let mut response = json(StatusCode::OK, &configuration);
    response.headers_mut().insert(CONTENT_DISPOSITION, content_disposition(Disposition::Attachment, NAME));
    Ok(response)
}
