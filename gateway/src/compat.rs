//! The five older APIs that Holdall takes over, each at its original paths.
//!
//! Every dialect is a closed module: its routes, its types on the wire, its errors. It calls [`ops`](crate::ops) and
//! [`transfer`](crate::transfer) and nothing of another dialect or of [`rest`](crate::rest). What a dialect answers when
//! something fails before or beside its handlers is its `failure`, which the router picks by the path.

pub mod cloudbuffer;
pub mod config;
pub mod file_drop;
pub mod file_storage;
pub mod file_uploader;
pub mod syncfile;

use axum::Router;

use crate::App;
use config::CompatConfig;

/// The routes of every dialect that is on.
pub fn routes(config: &CompatConfig) -> Router<App> {
    let mut router = Router::new();
    if config.file_storage_api.enabled {
        router = router.merge(file_storage::routes());
    }
    if config.file_uploader.enabled {
        router = router.merge(file_uploader::routes());
    }
    if config.cloudbuffer.enabled {
        router = router.merge(cloudbuffer::routes());
    }
    if config.file_drop.enabled {
        router = router.merge(file_drop::routes());
    }
    if config.syncfile.enabled {
        router = router.merge(syncfile::routes());
    }
    router
}
