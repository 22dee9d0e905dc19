//! The servers that cases run on: one of each shape for most, others with settings of their own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use harness::{Options, Server, Service, Shape};
use tokio::sync::OnceCell;

use crate::{data::Settings, setup::options};

/// [`options`] and a file's settings.
fn with(settings: &Settings) -> Options {
    settings.iter().fold(options(), |options, (service, keys)| {
        let service = match service.as_str() {
            "auth" => Service::Auth,
            "metadata" => Service::Metadata,
            "blob" => Service::Blob,
            "gateway" => Service::Gateway,
            other => panic!("there is no service {other:?}"),
        };
        keys.iter().fold(options, |options, (key, value)| options.set(service, key, &value.to_string()))
    })
}

/// The server of that shape and name; started at the first call.
pub async fn named(shape: Shape, name: &str, settings: &Settings) -> Arc<Server> {
    type Servers = HashMap<String, Arc<OnceCell<Arc<Server>>>>;
    static SERVERS: Mutex<Option<Servers>> = Mutex::new(None);
    let cell = {
        let mut servers = SERVERS.lock().expect("not poisoned");
        let servers = servers.get_or_insert_default();
        Arc::clone(servers.entry(format!("{shape:?} {name}")).or_default())
    };
    let server = cell.get_or_init(|| async { Arc::new(Server::start_with(shape, with(settings)).await) });
    Arc::clone(server.await)
}
