//! The File storage API: the classes `Register`, `LogIn` and `UsersData` of a Python library, as
//! `POST /storage/<Class>/<method>`.
//!
//! A call is a JSON object or a form (urlencoded or multipart) with the parameters by name, numbers and strings alike. What
//! the method returned is `result` of the answer: nothing is `null`, a dictionary is an object with its keys in order, and
//! what went wrong is a sentence, beside which `error` is `true`. All of that is status 200. A status of its own is left for
//! what a method call could not run into, each with a JSON object of `error`, a sentence, and `code`, for programs:
//!
//! | status | why |
//! | --- | --- |
//! | 400 | the body is no object or form, or a parameter that the method needs is missing |
//! | 401 | neither the service token, nor the session of the very user that is named |
//! | 404, 405 | there is no such class or method; methods are called with `POST` |
//! | others | as in the native API: 413 too large, 429, 503, 507 no room left |
//!
//! `UsersData/add_file` takes the content too: as the part `file` of a multipart form, after the parameters, or in base64 as
//! the parameter `content`. Without any it makes an empty file. It answers with `file_dir`, the folder in which the original
//! kept the file: `<username>/<aa>/<bb>`, from the MD5 of the directory and name. `GET /storage/files/<file_dir>/<name>`
//! reads the file, and `PUT` replaces its content. Nothing stores that folder: after the file or a folder above it has been
//! renamed or moved, it is another. Files of one name can, once in 65,536 times, share such a path; then it is refused with
//! 409 until `?user_dir=` tells which directory is meant, which also finds the file a little faster.
//!
//! A user's files are the tree of their account, so every other API shows them too, and what is deleted goes to its trash.
//! `get_all` and `del_all` are not there: nobody reads or deletes everything with one call.

mod adding;
mod answer;
mod call;
mod extension;
mod files;
mod folders;
mod log_in;
mod place;
mod register;
mod stored;
mod users;

use axum::Router;
use axum::routing::{get, post};

use crate::App;
pub use answer::failure;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/storage/Register/add_user", post(register::add_user))
        .route("/storage/Register/get_user_id", post(users::get_user_id))
        .route("/storage/Register/get_id_user", post(users::get_user_id))
        .route("/storage/Register/get_tracking", post(register::get_tracking))
        .route("/storage/Register/del_user", post(register::del_user))
        .route("/storage/LogIn/login_user", post(log_in::login_user))
        .route("/storage/LogIn/get_user_id", post(users::get_user_id))
        .route("/storage/LogIn/get_pwd", post(log_in::get_pwd))
        .route("/storage/LogIn/change_password", post(log_in::change_password))
        .route("/storage/LogIn/del_user", post(log_in::del_user))
        .route("/storage/LogIn/change_email", post(log_in::change_email))
        .route("/storage/UsersData/create_dir_for_user", post(users::create_dir_for_user))
        .route("/storage/UsersData/delete_user", post(users::delete_user))
        .route("/storage/UsersData/add_file", post(adding::add_file))
        .route("/storage/UsersData/rename_file", post(files::rename_file))
        .route("/storage/UsersData/del_file", post(files::del_file))
        .route("/storage/UsersData/find_files_in_dirs", post(files::find_files_in_dirs))
        .route("/storage/UsersData/create_folder", post(folders::create_folder))
        .route("/storage/UsersData/add_way", post(folders::add_way))
        .route("/storage/UsersData/get_folder", post(folders::get_folder))
        .route("/storage/UsersData/get_dir", post(folders::get_dir))
        .route("/storage/UsersData/change_dir_name", post(folders::change_dir_name))
        .route("/storage/UsersData/delete_dir", post(folders::delete_dir))
        .route("/storage/files/{username}/{aa}/{bb}/{filename}", get(stored::read).put(stored::write))
}
