//! A file, found by its id.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use holdall_proto::metadata::v1::{Link, LinkForm, Node};

use super::failure::no_file;
use crate::App;
use crate::error::{Code, Error, Result};
use crate::ops::{Caller, links};

/// Digits of an id.
const DIGITS: usize = 24;

/// The id in a path: 24 hexadecimal digits.
///
/// # Errors
/// [`no_file`] for anything else.
pub fn id(path: std::result::Result<Path<String>, PathRejection>) -> Result<String> {
    let Path(id) = path.map_err(|_| no_file())?;
    let plausible = id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plausible { Ok(id.to_ascii_lowercase()) } else { Err(no_file()) }
}

/// The link with that id and the file that it leads to, for the account that holds the files.
///
/// # Errors
/// `otherwise` when there is none.
pub async fn find(app: &App, keeper: &Caller, id: String, otherwise: fn() -> Error) -> Result<(Link, Node)> {
    let mut link = match links::by_slug(&app.upstreams, keeper, id).await {
        Err(error) if error.code == Code::NotFound => return Err(otherwise()),
        found => found?,
    };
    let node = link.node.take().filter(|_| link.form() == LinkForm::Hex).ok_or_else(otherwise)?;
    Ok((link, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_24_digits() {
        let id = |text: &str| id(Ok(Path(text.to_owned()))).ok();
        assert_eq!(id("66ddbf16bdd008b011f65d98").as_deref(), Some("66ddbf16bdd008b011f65d98"));
        assert_eq!(id("66DDBF16BDD008B011F65D98").as_deref(), Some("66ddbf16bdd008b011f65d98"));
        for bad in
            ["", "upload", "66ddbf16bdd008b011f65d9", "66ddbf16bdd008b011f65d988", "66ddbf16bdd008b011f65d9g"]
        {
            assert_eq!(id(bad), None, "{bad}");
        }
    }
}
