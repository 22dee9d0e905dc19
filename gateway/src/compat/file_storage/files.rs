//! Files that are there already: `rename_file`, `del_file`, `find_files_in_dirs`.

use std::sync::Arc;

use axum::extract::State;
use holdall_proto::metadata::v1::{ListChildrenRequest, Node, NodeKind, UpdateNodeRequest};

use super::answer::{Answer, NO_USER, Result};
use super::call::Call;
use super::extension;
use super::place::Directory;
use crate::App;
use crate::error::{Code, Error};
use crate::ops::{Caller, nodes};

const NO_FILE: &str = "Such file does not exist";
const NO_FILE_HERE: &str = "There is no such file in this directory";

/// As many children as metadata lists at once.
const PAGE: i32 = 1000;

/// `rename_file(username, user_id, user_dir, old_filename, new_filename)`: a name that is taken gets a number.
pub async fn rename_file(State(app): State<App>, call: Call) -> Result {
    let (old, new) = (call.text("old_filename")?, call.text("new_filename")?);
    let user_dir = call.text("user_dir")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    let directory = Directory::parse(&user, call.text("username")?, user_dir);
    let Some(file) = file(&app, &user, &directory, old).await? else { return Ok(NO_FILE.into()) };
    let (from, to) = (extension::of(&file.name), extension::of(new));
    if from != to {
        let sentence = format!("You can not change the extension file {from} to an extension {to}");
        return Ok(Answer::Sentence(sentence.into()));
    }
    let request = UpdateNodeRequest {
        node_id: file.node_id,
        name: Some(new.to_owned()),
        keep_both: true,
        ..UpdateNodeRequest::default()
    };
    match nodes::update(&app.upstreams, &user, request).await {
        Ok(_) => Ok(Answer::Nothing),
        Err(error) if is_nowhere(&error) => Ok(NO_FILE.into()),
        Err(error) => Err(error.into()),
    }
}

/// `del_file(username, user_id, filename, user_dir)`.
pub async fn del_file(State(app): State<App>, call: Call) -> Result {
    let (name, user_dir) = (call.text("filename")?, call.text("user_dir")?);
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    let directory = Directory::parse(&user, call.text("username")?, user_dir);
    let Some(file) = file(&app, &user, &directory, name).await? else { return Ok(NO_FILE_HERE.into()) };
    match nodes::trash(&app.upstreams, &user, nodes::by_id(file.node_id), None).await {
        Ok(_) => Ok(Answer::Nothing),
        Err(error) if error.code == Code::NotFound => Ok(NO_FILE_HERE.into()),
        Err(error) => Err(error.into()),
    }
}

/// `find_files_in_dirs(username, user_id, user_dir)`: names of files and where they are; none of a directory that is not
/// there.
pub async fn find_files_in_dirs(State(app): State<App>, call: Call) -> Result {
    let user_dir = call.text("user_dir")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    let directory = Directory::parse(&user, call.text("username")?, user_dir);
    let names = children(&app, &user, &directory, NodeKind::File).await?;
    let files = names.into_iter().map(|name| {
        let path = format!("{}/{name}", directory.storage_of(&name));
        (name, path)
    });
    Ok(Answer::Files(files.collect()))
}

/// The file of that name in a directory; `None` when there is none.
pub async fn file(app: &App, user: &Caller, directory: &Directory, name: &str) -> Result<Option<Node>> {
    match directory.path_of(name) {
        Some(path) => node(app, user, path, NodeKind::File).await,
        None => Ok(None),
    }
}

/// What is at a path, if it is of that kind.
pub async fn node(app: &App, user: &Caller, path: String, kind: NodeKind) -> Result<Option<Node>> {
    match nodes::get(&app.upstreams, user, nodes::by_path(path)).await {
        Ok(node) => Ok(Some(node).filter(|node| node.kind() == kind)),
        Err(error) if is_nowhere(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names of a directory's children of that kind, in order; none when it is not there.
pub async fn children(
    app: &App,
    user: &Caller,
    directory: &Directory,
    kind: NodeKind,
) -> Result<Vec<String>> {
    let mut request = ListChildrenRequest {
        folder: Some(nodes::by_path(directory.path())),
        page_size: PAGE,
        ..ListChildrenRequest::default()
    };
    let mut names = Vec::new();
    loop {
        let page = match nodes::children(&app.upstreams, user, request.clone()).await {
            Ok(page) => Arc::unwrap_or_clone(page),
            Err(error) if is_nowhere(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        names.extend(page.children.into_iter().filter(|node| node.kind() == kind).map(|node| node.name));
        if page.next_page_token.is_empty() {
            return Ok(names);
        }
        request.page_token = page.next_page_token;
    }
}

/// Whether metadata says that what was named is not there, or cannot be anywhere.
pub fn is_nowhere(error: &Error) -> bool {
    matches!(
        error.code,
        Code::NotFound | Code::NotAFolder | Code::NotAFile | Code::InvalidName | Code::InvalidPath
    )
}
