//! The OpenAPI document: what the handlers say about themselves, completed by what holds for all of them.
//!
//! Handlers name the codes of their own failures as the description of a response ("not_found, name_conflict"). Here
//! each of these gets the shape of a problem, and every operation gets the failures that any of its kind can have.

use axum::Router;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::PREFIX;
use super::problem::Body9457;
use crate::error::Code;

/// The name of the security scheme.
const SESSION: &str = "session";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdall",
        description = "Store files in folders, keep their versions, and share them by short link.\n\n\
            Sign in with `POST /sessions` and send the token as `Authorization: Bearer` with every other request. \
            Times are RFC 3339 in UTC, sizes are bytes, ids are opaque text. Lists come in pages: pass `next_cursor` as \
            `cursor` until it is null. Failures are problem details of RFC 9457; `code` says which, and `retryable` \
            whether the same request may succeed later.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Body9457)),
    tags(
        (name = "accounts", description = "Accounts and their credentials."),
        (name = "sessions", description = "Signed-in devices."),
        (name = "space", description = "The caller's tree of files and its quota."),
        (name = "nodes", description = "Folders and files by id. `root` stands for the root folder."),
        (name = "content", description = "Content of files by id."),
        (name = "paths", description = "Folders and files by path."),
        (name = "trash", description = "What was deleted and can come back."),
        (name = "links", description = "Short links to files."),
        (name = "changes", description = "What has changed, in order."),
    ),
)]
struct Document;

/// The document before the operations are added.
pub fn start() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The `token` of `POST /sessions`."))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(SESSION, SecurityScheme::Http(bearer));
    document.security = Some(vec![SecurityRequirement::new(SESSION, Vec::<String>::new())]);
    document
}

/// The document with every operation, completed.
pub fn finish(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    // OpenAPI has no wildcards: a parameter of a path may hold slashes if whoever documents it says so.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for item in document.paths.paths.values_mut() {
        // HEAD shares its handler with GET, and ids are unique.
        if let Some(id) = item.head.as_mut().and_then(|operation| operation.operation_id.as_mut()) {
            id.insert_str(0, "head_");
        }
        operations(item).for_each(complete);
    }
    document
}

/// The document as a handler, written once.
pub fn serve(
    document: &utoipa::openapi::OpenApi,
) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    let json = Bytes::from(serde_json::to_vec(document).unwrap_or_default());
    move || {
        let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")];
        std::future::ready((headers, json.clone()).into_response())
    }
}

/// A page to browse the document with, and to try it.
pub fn browser<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let document = Config::from(format!("{PREFIX}/openapi.json"));
    Router::from(SwaggerUi::new(format!("{PREFIX}/docs")).config(document)).layer(map_response(confined))
}

/// Swagger UI brings its own scripts and sets styles as it goes; it needs nothing from elsewhere.
async fn confined(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
        font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The operations of a path.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

fn complete(operation: &mut Operation) {
    let is_public = operation
        .security
        .as_ref()
        .is_some_and(|any| any.iter().any(|one| *one == SecurityRequirement::default()));
    let mut codes = vec![
        Code::InvalidHeader,
        Code::InvalidEncoding,
        Code::Internal,
        Code::OutcomeUnknown,
        Code::BadGateway,
        Code::Overloaded,
        Code::Unavailable,
    ];
    if !is_public {
        codes.push(Code::Unauthenticated);
    }
    let takes_json = match &operation.request_body {
        Some(RefOr::T(body)) => body.content.contains_key("application/json"),
        _ => false,
    };
    if takes_json {
        codes.extend([
            Code::MalformedJson,
            Code::TruncatedBody,
            Code::Timeout,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::InvalidField,
        ]);
    }
    let responses = &mut operation.responses.responses;
    for code in codes {
        let entry = code.entry();
        let response = responses
            .entry(entry.status.as_u16().to_string())
            .or_insert_with(|| RefOr::T(ResponseBuilder::new().build()));
        let RefOr::T(utoipa::openapi::Response { description, .. }) = response else { continue };
        if !description.split(", ").any(|name| name == entry.name) {
            let separator = if description.is_empty() { "" } else { ", " };
            description.push_str(separator);
            description.push_str(entry.name);
        }
    }
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    for (status, response) in responses {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
            response.content.insert("application/problem+json".to_owned(), problem.clone().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_one_of_the_table() {
        let (_, document) = crate::router::api();
        let mut document = document;
        let mut seen = 0;
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                assert!(operation.operation_id.is_some() && operation.summary.is_some(), "{path}");
                for (status, response) in &operation.responses.responses {
                    let RefOr::T(response) = response else { panic!("{path}: a reference") };
                    if !status.starts_with(['4', '5']) {
                        continue;
                    }
                    assert!(response.content.contains_key("application/problem+json"), "{path} {status}");
                    for name in response.description.split(", ") {
                        let code = Code::ALL.iter().find(|code| code.entry().name == name);
                        let code = code.unwrap_or_else(|| panic!("{path} {status}: {name} is not a code"));
                        assert_eq!(code.entry().status.as_str(), status, "{path}: {name}");
                        seen += 1;
                    }
                }
            }
        }
        assert!(seen > 200);
    }

    #[test]
    fn operation_ids_are_unique() {
        let (_, mut document) = crate::router::api();
        let mut ids: Vec<_> = document
            .paths
            .paths
            .values_mut()
            .flat_map(operations)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|operation| operation.operation_id.clone().unwrap())
            .collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert!(all > 30);
    }

    #[test]
    fn only_what_needs_no_session_is_public() {
        let (_, mut document) = crate::router::api();
        let mut public = Vec::new();
        for item in document.paths.paths.values_mut() {
            for operation in operations(item) {
                if !operation.responses.responses.get("401").is_some_and(|response| matches!(response, RefOr::T(response) if response.description.contains("unauthenticated"))) {
                    public.push(operation.operation_id.clone().unwrap());
                }
            }
        }
        public.sort();
        assert_eq!(public, ["register", "sign_in"]);
    }

    #[test]
    fn the_document_is_openapi_3_1_and_refers_to_nothing_that_is_missing() {
        let (_, document) = crate::router::api();
        let json = serde_json::to_value(&document).unwrap();
        assert!(json["openapi"].as_str().unwrap().starts_with("3.1."), "{}", json["openapi"]);
        let mut references = Vec::new();
        collect(&json, &mut references);
        assert!(references.len() > 20);
        for reference in references {
            assert!(json.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
        }
    }

    fn collect(value: &serde_json::Value, references: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                if let Some(serde_json::Value::String(reference)) = map.get("$ref") {
                    references.push(reference.clone());
                }
                map.values().for_each(|value| collect(value, references));
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }
}
