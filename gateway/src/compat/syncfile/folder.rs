//! `folder`: what can be done with folders.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use holdall_proto::metadata::v1::{CreateFolderRequest, UpdateNodeRequest};

use super::answer::{
    DETAILS, FOLDER_EXISTS, FOLDER_MADE, INCORRECT, NO_DETAILS, NO_PARENT, NOT_REMOVED, NOT_RENAMED, Outcome,
    REMOVED, RENAMED, Refusal, SEPARATOR_AT_END,
};
use super::parameters::Parameters;
use super::path::{NodePath, Place, ends_in_separator};
use super::{details, list};
use crate::App;
use crate::error::Code;
use crate::ops::{Caller, nodes};

/// `folder`: the operation stands in `op`.
pub async fn call(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let parameters = Parameters::of(request).await?;
    let caller = parameters.caller(&app).await?;
    let path = parameters.get("path");
    match parameters.get("op") {
        "mkdir" => make(&app, &caller, path).await,
        "getdetail" => show(&app, &caller, path).await,
        "rename" => rename(&app, &caller, path, parameters.get("name")).await,
        "rm" => remove(&app, &caller, path).await,
        "list" => list::list(&app, &caller, path, parameters.get("recursive") == "1").await,
        _ => Err(INCORRECT.into()),
    }
}

/// Makes a folder in one that is there.
async fn make(app: &App, caller: &Caller, path: &str) -> Result<Response, Refusal> {
    if ends_in_separator(path) {
        return Err(SEPARATOR_AT_END.into());
    }
    let path = NodePath::parse(path).map_err(|error| Refusal::of(error, NO_PARENT))?;
    let parent = path.parent();
    if parent.hides(path.name()) {
        return Err(FOLDER_EXISTS.into());
    }
    let request = CreateFolderRequest {
        parent: Some(parent.node()),
        name: path.name().to_owned(),
        ..CreateFolderRequest::default()
    };
    match nodes::create_folder(&app.upstreams, caller, request).await {
        Ok(_) => Ok(FOLDER_MADE.into_response()),
        Err(error) if error.code == Code::NameConflict => Err(FOLDER_EXISTS.into()),
        Err(error) => Err(Refusal::of(error, NO_PARENT)),
    }
}

/// Says what a folder or file is.
async fn show(app: &App, caller: &Caller, path: &str) -> Result<Response, Refusal> {
    let not_there = || NO_DETAILS.with("details", "");
    let place = Place::parse(path).map_err(|error| Refusal::of(error, not_there()))?;
    let node = nodes::get(&app.upstreams, caller, place.node()).await;
    let node = node.map_err(|error| Refusal::of(error, not_there()))?;
    let username = &caller.account().username;
    let details = details::of(&node, username, &place.shown(username));
    Ok(DETAILS.with("details", details).into_response())
}

/// Gives a folder or file another name where it is.
async fn rename(app: &App, caller: &Caller, path: &str, name: &str) -> Result<Response, Refusal> {
    let path = below(path, NOT_RENAMED)?;
    let node = nodes::get(&app.upstreams, caller, path.node()).await;
    let node = node.map_err(|error| Refusal::of(error, NOT_RENAMED))?;
    if path.parent().hides(name) {
        return Err(FOLDER_EXISTS.into());
    }
    let request = UpdateNodeRequest {
        node_id: node.node_id,
        name: Some(name.to_owned()),
        ..UpdateNodeRequest::default()
    };
    match nodes::update(&app.upstreams, caller, request).await {
        Ok(_) => {
            let msg = format!("renamed folder {} to {name}", path.name());
            Ok(RENAMED.msg(msg).into_response())
        }
        Err(error) if error.code == Code::NameConflict => Err(FOLDER_EXISTS.into()),
        Err(error) => Err(Refusal::of(error, NOT_RENAMED)),
    }
}

/// Puts a folder with all below it, or a file, into the trash.
async fn remove(app: &App, caller: &Caller, path: &str) -> Result<Response, Refusal> {
    let path = below(path, NOT_REMOVED)?;
    let trashed = nodes::trash(&app.upstreams, caller, path.node(), None).await;
    trashed.map_err(|error| Refusal::of(error, NOT_REMOVED))?;
    Ok(REMOVED.into_response())
}

/// The path of something other than the root.
fn below(path: &str, otherwise: Outcome) -> Result<NodePath, Refusal> {
    match Place::parse(path).map_err(|error| Refusal::of(error, otherwise))? {
        Place::Below(path) => Ok(path),
        Place::Root => Err(otherwise.into()),
    }
}
