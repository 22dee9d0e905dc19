//! The caller as a parameter of a handler.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::problem::Problem;
use crate::App;
use crate::identity::{self, Handle};
use crate::ops::Caller;

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(identity::identify(app, Handle::of(&parts.headers)?).await?)
    }
}

impl<S: Sync> FromRequestParts<S> for Handle {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::of(&parts.headers)?)
    }
}
