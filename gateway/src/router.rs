//! The map of URLs, on one page.

mod cors;
mod edge;
mod health;
mod shape;
mod unread;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Code;
use crate::identity::ClientAddress;
use crate::rest::{
    self, accounts, buffer, changes, content, folders, fs, nodes, openapi, policy, sessions, space, trash,
};
use crate::{App, compat, grpc, links, web};
use shape::Shape;

/// Every URL of the gateway.
pub fn router(app: App) -> Router {
    let (api, document) = api();
    Router::new()
        .merge(api)
        // A wildcard holds at least one character.
        .route("/api/v1/fs/", get(fs::root))
        .route("/api/v1/openapi.json", get(openapi::serve(&document)))
        .merge(openapi::browser())
        .merge(compat::routes(&app.compat))
        .merge(grpc::routes(&app.grpc))
        .route("/", get(web::landing))
        .route("/s/{slug}", get(links::page))
        .route("/s/{slug}/download", get(links::download))
        .route("/s/{slug}/qr.svg", get(links::qr))
        .route("/static/{file}", get(web::asset))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(unknown)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(edge::EdgeLayer::new(app.scheme))
        .with_state(app)
}

/// The native API under [`rest::PREFIX`], and its OpenAPI document.
pub fn api() -> (Router<App>, utoipa::openapi::OpenApi) {
    let paths = OpenApiRouter::new()
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::get, accounts::delete))
        .routes(routes!(accounts::change_password))
        .routes(routes!(accounts::change_email))
        .routes(routes!(sessions::create, sessions::list))
        .routes(routes!(sessions::extend))
        .routes(routes!(sessions::end))
        .routes(routes!(space::get))
        .routes(routes!(nodes::get, nodes::update, nodes::trash))
        .routes(routes!(nodes::children))
        .routes(routes!(nodes::ancestors))
        .routes(routes!(nodes::versions))
        .routes(routes!(nodes::restore))
        .routes(routes!(content::read, content::write))
        .routes(routes!(folders::create))
        .routes(routes!(policy::set))
        .routes(routes!(content::write_file))
        .routes(routes!(fs::root))
        .routes(routes!(fs::read, fs::write, fs::make_folder, fs::trash))
        .routes(routes!(trash::list, trash::empty))
        .routes(routes!(trash::purge))
        .routes(routes!(rest::links::create, rest::links::list))
        .routes(routes!(rest::links::get, rest::links::update, rest::links::delete))
        .routes(routes!(buffer::get, buffer::put, buffer::clear))
        .routes(routes!(buffer::history))
        .routes(routes!(buffer::entry))
        .routes(routes!(changes::list));
    let (api, document) =
        OpenApiRouter::with_openapi(openapi::start()).nest(rest::PREFIX, paths).split_for_parts();
    (api, openapi::finish(document))
}

async fn unknown(app: State<App>, client: ClientAddress, request: Request) -> Response {
    match Shape::of(request.uri().path()) {
        // So that it is told in the caller's own protocol.
        Shape::Grpc => grpc::call(app, client, request).await,
        shape => shape.failure(Code::NotFound.into()),
    }
}

async fn method_not_allowed(uri: Uri) -> Response {
    Shape::of(uri.path()).failure(Code::MethodNotAllowed.into())
}
