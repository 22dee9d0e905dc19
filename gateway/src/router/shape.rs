//! The shape that an answer has when no handler made it: each API's own, by the path.

use axum::response::{IntoResponse, Response};

use crate::compat::{cloudbuffer, file_drop, file_storage, file_uploader, syncfile};
use crate::error::Error;
use crate::rest::problem::Problem;
use crate::{grpc, web};

/// Whose path it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `/api/v1`.
    Native,
    /// Whatever people look at.
    Page,
    /// `/storage`.
    FileStorage,
    /// `/api` but for the native API, `/file/{id}`, `/f`.
    FileUploader,
    /// `/account`, and what is static below `/file`.
    CloudBuffer,
    /// `/files`.
    FileDrop,
    /// `/v1`.
    SyncFile,
    /// `/PACKAGE.SERVICE/METHOD`.
    Grpc,
}

impl Shape {
    /// The shape for a path.
    pub fn of(path: &str) -> Self {
        let mut names = path.split('/').skip(1);
        match (names.next().unwrap_or_default(), names.next().unwrap_or_default()) {
            ("api", "v1") => Self::Native,
            ("api" | "f", _) => Self::FileUploader,
            ("account", _) | ("file", "load" | "get" | "buffer" | "register") => Self::CloudBuffer,
            ("file", _) => Self::FileUploader,
            ("files", _) => Self::FileDrop,
            ("v1", _) => Self::SyncFile,
            ("storage", _) => Self::FileStorage,
            _ if grpc::is_method(path) => Self::Grpc,
            _ => Self::Page,
        }
    }

    /// The answer to a request that failed.
    pub fn failure(self, error: Error) -> Response {
        match self {
            Self::Native => Problem(error).into_response(),
            Self::Page => web::Failure::from(error).into_response(),
            Self::FileStorage => file_storage::failure(&error),
            Self::FileUploader => file_uploader::failure(&error),
            Self::CloudBuffer => cloudbuffer::failure(&error),
            Self::FileDrop => file_drop::failure(&error),
            Self::SyncFile => syncfile::failure(&error),
            Self::Grpc => grpc::failure(&error),
        }
    }

    /// Whether scripts of any origin may call it and read the answers: where nothing depends on a cookie, and the contract
    /// says so.
    pub fn is_open(self) -> bool {
        matches!(self, Self::FileUploader | Self::FileDrop | Self::SyncFile | Self::Grpc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn every_path_has_its_shape() {
        for (path, shape) in [
            ("/", Shape::Page),
            ("/s/x", Shape::Page),
            ("/nothing", Shape::Page),
            ("/api/v1", Shape::Native),
            ("/api/v1/nodes", Shape::Native),
            ("/api", Shape::FileUploader),
            ("/api/", Shape::FileUploader),
            ("/api/v10", Shape::FileUploader),
            ("/api/upload", Shape::FileUploader),
            ("/file/4yn-8yjhsu", Shape::FileUploader),
            ("/f/4yn-8yjhsu", Shape::FileUploader),
            ("/file/load", Shape::CloudBuffer),
            ("/file/get/", Shape::CloudBuffer),
            ("/file/buffer", Shape::CloudBuffer),
            ("/file/register", Shape::CloudBuffer),
            ("/file/buffers", Shape::FileUploader),
            ("/account/login/", Shape::CloudBuffer),
            ("/files", Shape::FileDrop),
            ("/files/x", Shape::FileDrop),
            ("/v1/file", Shape::SyncFile),
            ("/storage/LogIn/get_pwd", Shape::FileStorage),
            ("/holdall.auth.v1.AccountService/Register", Shape::Grpc),
            ("/grpc.health.v1.Health/Check", Shape::Grpc),
            ("/holdall", Shape::Page),
        ] {
            assert_eq!(Shape::of(path), shape, "{path}");
        }
    }

    #[test]
    fn every_failure_can_be_told_in_every_shape() {
        let shapes = [
            Shape::Native,
            Shape::Page,
            Shape::FileStorage,
            Shape::FileUploader,
            Shape::CloudBuffer,
            Shape::FileDrop,
            Shape::SyncFile,
            Shape::Grpc,
        ];
        for shape in shapes {
            for &code in Code::ALL {
                let answer = shape.failure(code.into());
                let is_told = match shape {
                    Shape::SyncFile => answer.status().is_success(),
                    Shape::Grpc => answer.headers().get("grpc-status").is_some_and(|status| status != "0"),
                    _ => !answer.status().is_success(),
                };
                assert!(is_told, "{shape:?} {code:?} {}", answer.status());
            }
        }
    }
}
