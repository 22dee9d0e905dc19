//! `folder?op=list`: what is in a folder.

use std::sync::Arc;

use axum::response::Response;
use holdall_proto::metadata::v1::{ListChildrenRequest, Node, NodeRef};
use serde::Serialize;

use super::answer::{LISTED, NOT_LISTED, Refusal};
use super::details::{Item, is_folder};
use super::path::Place;
use crate::App;
use crate::error::{Code, Result};
use crate::ops::{Caller, nodes};

/// The most that one answer lists.
const MOST: usize = 100_000;
const PAGE: i32 = 1_000;

#[derive(Serialize)]
struct Listing<'a> {
    /// Names alone, as the original gives them.
    details: Vec<&'a str>,
    items: &'a [Item],
    /// There is more than one answer lists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// Lists what is directly in a folder or, `recursive`, all below it: a folder comes right before what is in it.
pub async fn list(
    app: &App,
    caller: &Caller,
    path: &str,
    recursive: bool,
) -> std::result::Result<Response, Refusal> {
    let walked = async { walk(app, caller, &Place::parse(path)?, recursive).await }.await;
    let (items, truncated) = walked.map_err(|error| Refusal::of(error, NOT_LISTED))?;
    let details = items.iter().map(Item::name).collect();
    Ok(LISTED.with_all(&Listing { details, items: &items, truncated }))
}

/// A folder that is being listed.
struct Level {
    folder: NodeRef,
    /// As it is shown.
    path: String,
    /// What is at hand.
    children: std::vec::IntoIter<Node>,
    /// Where what comes after that starts; `None` when nothing does.
    next: Option<String>,
}

impl Level {
    fn new(folder: NodeRef, path: String) -> Self {
        Self { folder, path, children: Vec::new().into_iter(), next: Some(String::new()) }
    }

    async fn read(&mut self, app: &App, caller: &Caller, page_token: String) -> Result<()> {
        let folder = Some(self.folder.clone());
        let request =
            ListChildrenRequest { folder, page_size: PAGE, page_token, ..ListChildrenRequest::default() };
        let page = Arc::unwrap_or_clone(nodes::children(&app.upstreams, caller, request).await?);
        self.children = page.children.into_iter();
        self.next = Some(page.next_page_token).filter(|token| !token.is_empty());
        Ok(())
    }
}

/// The items, and whether there are more.
async fn walk(app: &App, caller: &Caller, place: &Place, recursive: bool) -> Result<(Vec<Item>, bool)> {
    let mut levels = vec![Level::new(place.node(), place.shown(&caller.account().username))];
    let mut items = Vec::new();
    while let Some(level) = levels.last_mut() {
        if let Some(node) = level.children.next() {
            if items.len() == MOST {
                return Ok((items, true));
            }
            let path = format!("{}/{}", level.path, node.name);
            let below = (recursive && is_folder(&node))
                .then(|| Level::new(nodes::by_id(&node.node_id), path.clone()));
            items.push(Item::new(node, path));
            levels.extend(below);
        } else if let Some(page_token) = level.next.take() {
            match level.read(app, caller, page_token).await {
                // Removed since its parent was read.
                Err(error) if error.code == Code::NotFound && levels.len() > 1 => drop(levels.pop()),
                read => read?,
            }
        } else {
            levels.pop();
        }
    }
    Ok((items, false))
}
