//! Services that know each other by certificates: who is not named may not call.

use std::{fs, path::Path};

use harness::{Authority, Command, Process, grpc};
use holdall_proto::{
    auth::v1::{
        CreateSessionRequest, ExchangeSessionRequest, RegisterRequest,
        account_service_client::AccountServiceClient, session_service_client::SessionServiceClient,
    },
    metadata::v1::{GetSpaceRequest, space_service_client::SpaceServiceClient},
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const AUTH: &str = "auth.holdall.test";
const GATEWAY: &str = "gateway.holdall.test";
const KEYS: &str = "/holdall.auth.v1.KeyService/ListKeys";
const METADATA: &str = "metadata.holdall.test";

/// holdall-auth, which knows these two.
fn auth(folder: &Path, authority: &Authority, metadata_may_call: &str) -> Command {
    let (certificate, key) = authority.issue(AUTH);
    let file = folder.join("auth.toml");
    let text = format!(
        "[server]\nlisten = '127.0.0.1:0'\n\
         [server.tls]\ncert_file = {certificate:?}\nkey_file = {key:?}\nclient_ca_file = {:?}\n\
         [server.tls.client_calls]\n{GATEWAY:?} = ['*']\n{METADATA:?} = [{metadata_may_call:?}]\n\
         [auth.password]\nmemory_kib = 8\niterations = 1\n",
        authority.file()
    );
    fs::write(&file, text).unwrap();
    Command::new("holdall-auth").arg("--config").path(&file).arg("--data-dir").path(&folder.join("auth"))
}

/// holdall-metadata, which shows auth the certificate of `name`.
async fn metadata(folder: &Path, authority: &Authority, auth: &str, name: &str) -> (Process, Channel) {
    let (certificate, key) = authority.issue(name);
    let file = folder.join(format!("{name}.toml"));
    let grants = folder.join("grants.key");
    let text = format!(
        "server.listen = '127.0.0.1:0'\nmetadata.grants.key_files = [{grants:?}]\n\
         [auth]\nurl = {auth:?}\nca_file = {:?}\ncert_file = {certificate:?}\nkey_file = {key:?}\n\
         server_name = {AUTH:?}\n",
        authority.file()
    );
    fs::write(&file, text).unwrap();
    let command = Command::new("holdall-metadata").arg("--config").path(&file);
    let process = command.arg("--data-dir").path(&folder.join(name)).start();
    let channel = grpc::connect(&process.address().await).await;
    (process, channel)
}

async fn access_token(channel: &Channel) -> String {
    let (username, password) = ("alice".to_owned(), "a long enough password".to_owned());
    let mut accounts = AccountServiceClient::new(channel.clone());
    let register = RegisterRequest {
        username: username.clone(),
        password: password.clone(),
        ..RegisterRequest::default()
    };
    accounts.register(register).await.unwrap();
    let mut sessions = SessionServiceClient::new(channel.clone());
    let create = CreateSessionRequest { login: username, password, ..CreateSessionRequest::default() };
    let handle = sessions.create_session(create).await.unwrap().into_inner().handle;
    let exchange = ExchangeSessionRequest { handle, ..ExchangeSessionRequest::default() };
    sessions.exchange_session(exchange).await.unwrap().into_inner().access_token.unwrap().token
}

#[tokio::test]
async fn a_service_is_called_by_those_that_it_knows_and_for_what_they_need() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
    write_key(folder.path());
    let auth = auth(folder.path(), &authority, "holdall.auth.v1.KeyService").start();
    let url = auth.address().await;

    let as_metadata = authority.connect(&url, AUTH, METADATA);
    let stranger = authority.connect(&url, AUTH, "blob.holdall.test");
    grpc::call(&as_metadata, KEYS, None, "").await.unwrap();
    for path in grpc::methods().into_iter().filter(|path| path.starts_with("/holdall.auth.")) {
        if path != KEYS {
            let refused = grpc::call(&as_metadata, &path, None, "").await;
            grpc::refused(refused, Code::PermissionDenied, "PEER_FORBIDDEN");
        }
        let refused = grpc::call(&stranger, &path, None, "").await;
        grpc::refused(refused, Code::PermissionDenied, "PEER_FORBIDDEN");
    }
    for channel in [&as_metadata, &stranger] {
        HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    }
    let log = auth.log();
    assert!(log.contains("holdall.auth.v1.") && log.contains(&format!("\"peer\":\"{METADATA}\"")), "{log}");

    // Between the services themselves: metadata needs auth's keys to know who calls.
    let token = access_token(&authority.connect(&url, AUTH, GATEWAY)).await;
    let ask = async |channel: &Channel| {
        SpaceServiceClient::new(channel.clone()).get_space(grpc::signed(&token, GetSpaceRequest {})).await
    };
    let (_process, known) = metadata(folder.path(), &authority, &url, METADATA).await;
    ask(&known).await.unwrap();
    let (_process, unknown) = metadata(folder.path(), &authority, &url, "other.holdall.test").await;
    let status = ask(&unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

fn write_key(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join("grants.key");
    fs::write(&file, "0123456789abcdef".repeat(4)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn what_nobody_can_call_is_a_mistake() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
    for mistake in ["holdall.auth.v1.KeyServise", "holdall.auth.v1.KeyService/Listkeys", "holdall.auth.v1"] {
        let (status, log) = auth(folder.path(), &authority, mistake).run().await;
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.contains("server.tls.client_calls") && log.contains(mistake), "{log}");
    }
    let config = folder.path().join("auth.toml");
    let text = fs::read_to_string(&config).unwrap();
    let (tls, _) = text.split_once("[auth.password]").unwrap();
    fs::write(&config, tls.replace("holdall.auth.v1", "holdall.auth.v1.KeyService")).unwrap();
    let gateway = Command::new("holdall-gateway").arg("--check-config").arg("--config").path(&config);
    let (status, log) = gateway.run().await;
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("server.tls.client_calls"), "{log}");
}
