//! Methods about a user as a whole that are the same in several classes, or concern all files of a user.

use axum::extract::State;

use super::answer::{Answer, NO_USER, Result};
use super::call::Call;
use crate::App;
use crate::ops::nodes;

/// `get_user_id(username)`: the number of the user.
pub async fn get_user_id(State(app): State<App>, call: Call) -> Result {
    let user = call.user(&app).await?;
    Ok(user.map_or(NO_USER.into(), |user| Answer::Number(user.account().number)))
}

/// `create_dir_for_user(username, user_id)`: every account has its root, so it only has to be there.
pub async fn create_dir_for_user(State(app): State<App>, call: Call) -> Result {
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    nodes::get(&app.upstreams, &user, nodes::ROOT).await?;
    Ok(Answer::Nothing)
}

/// `delete_user(username, user_id)`: deletes all files and folders for good. The account stays.
pub async fn delete_user(State(app): State<App>, call: Call) -> Result {
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    nodes::empty_space(&app.upstreams, &user).await?;
    Ok(Answer::Nothing)
}
