//! Folders: `create_folder`, `add_way`, `get_folder`, `get_dir`, `change_dir_name`, `delete_dir`.

use axum::extract::State;
use holdall_proto::metadata::v1::{CreateFolderRequest, Node, NodeKind, UpdateNodeRequest};

use super::answer::{Answer, EMPTY, NO_USER, Result};
use super::call::Call;
use super::files::{children, is_nowhere, node};
use super::place::Directory;
use crate::App;
use crate::error::Code;
use crate::ops::{Caller, nodes};

const EXISTS: &str = "This folder exist exist";
const UNKNOWN: &str = "This folder does not exist";
const NO_DIRECTORY: &str = "There is no such directory";
const NO_SUCH_NAME: &str = "Directory with this name does not exist";
const FIXED: &str = "This directory can not be modified";
const NO_NEW_NAME: &str = "You must write a new directory name";
const SAME_NAME: &str = "You can not change the directory name to exactly the same";

/// `create_folder(username, user_id, new_folred)`: with the folders above it that are missing.
pub async fn create_folder(State(app): State<App>, call: Call) -> Result {
    let new = call.either("new_folred", "new_folder")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    let directory = Directory::parse(&user, call.text("username")?, new);
    match make(&app, &user, &directory).await? {
        Made::New => Ok(Answer::Nothing),
        Made::Already | Made::Refused => Ok(EXISTS.into()),
    }
}

/// `add_way(username, user_id, pathway)`: `pathway` starts below the username.
pub async fn add_way(State(app): State<App>, call: Call) -> Result {
    let pathway = call.text("pathway")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    match make(&app, &user, &Directory::at(&user, pathway)).await? {
        Made::New | Made::Already => Ok(Answer::Nothing),
        Made::Refused => Ok(NO_DIRECTORY.into()),
    }
}

enum Made {
    New,
    Already,
    /// It cannot be: a name is not a good one, or a file has it.
    Refused,
}

async fn make(app: &App, user: &Caller, directory: &Directory) -> Result<Made> {
    if directory.is_root() {
        return Ok(Made::Already);
    }
    let request =
        CreateFolderRequest { name: directory.path(), parents: true, ..CreateFolderRequest::default() };
    match nodes::create_folder(&app.upstreams, user, request).await {
        Ok((_, true)) => Ok(Made::New),
        Ok((_, false)) => Ok(Made::Already),
        Err(error) if is_nowhere(&error) || error.code == Code::NameConflict => Ok(Made::Refused),
        Err(error) => Err(error.into()),
    }
}

/// `get_folder(username, user_id, user_dir)`: the folders directly in a directory; none of one that is not there.
pub async fn get_folder(State(app): State<App>, call: Call) -> Result {
    let user_dir = call.text("user_dir")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    let directory = Directory::parse(&user, call.text("username")?, user_dir);
    let names = children(&app, &user, &directory, NodeKind::Folder).await?;
    let shown = directory.shown();
    let folders = names.into_iter().map(|name| {
        let path = format!("{shown}/{name}");
        (name, path)
    });
    Ok(Answer::Dictionary(folders.collect()))
}

/// `get_dir(username, user_id, pathway)`: the directory and all above it, the root first.
pub async fn get_dir(State(app): State<App>, call: Call) -> Result {
    let pathway = call.text("pathway")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    let directory = Directory::parse(&user, call.text("username")?, pathway);
    match folder(&app, &user, &directory).await? {
        Some(_) => Ok(Answer::Dictionary(directory.dictionary())),
        None => Ok(NO_DIRECTORY.into()),
    }
}

/// `change_dir_name(username, user_id, old_user_dir, new_user_dir)`: the first is a path, the second a name.
pub async fn change_dir_name(State(app): State<App>, call: Call) -> Result {
    let old = call.text("old_user_dir")?;
    let new = call.either("new_user_dir", "new_dir_name")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    let directory = Directory::parse(&user, call.text("username")?, old);
    if directory.is_root() {
        return Ok(FIXED.into());
    }
    if new.is_empty() {
        return Ok(NO_NEW_NAME.into());
    }
    if new == directory.name() {
        return Ok(SAME_NAME.into());
    }
    let Some(folder) = folder(&app, &user, &directory).await? else { return Ok(NO_SUCH_NAME.into()) };
    let request = UpdateNodeRequest {
        node_id: folder.node_id,
        name: Some(new.to_owned()),
        ..UpdateNodeRequest::default()
    };
    match nodes::update(&app.upstreams, &user, request).await {
        Ok(_) => Ok(Answer::Nothing),
        Err(error) => match error.code {
            Code::NameConflict => Ok(EXISTS.into()),
            Code::NotFound => Ok(NO_SUCH_NAME.into()),
            Code::InvalidName => Ok(FIXED.into()),
            _ => Err(error.into()),
        },
    }
}

/// `delete_dir(username, user_id, name_dir)`: with everything in it.
pub async fn delete_dir(State(app): State<App>, call: Call) -> Result {
    let name = call.text("name_dir")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    if name.is_empty() {
        return Ok(EMPTY.into());
    }
    let directory = Directory::parse(&user, call.text("username")?, name);
    if directory.is_root() {
        return Ok(FIXED.into());
    }
    let Some(folder) = folder(&app, &user, &directory).await? else { return Ok(UNKNOWN.into()) };
    match nodes::trash(&app.upstreams, &user, nodes::by_id(folder.node_id), None).await {
        Ok(_) => Ok(Answer::Nothing),
        Err(error) if error.code == Code::NotFound => Ok(UNKNOWN.into()),
        Err(error) => Err(error.into()),
    }
}

async fn folder(app: &App, user: &Caller, directory: &Directory) -> Result<Option<Node>> {
    node(app, user, directory.path(), NodeKind::Folder).await
}
