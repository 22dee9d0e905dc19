//! What operators see of an installation: its configuration, its measurements, its schemas.

use std::{fs, os::unix::fs::PermissionsExt};

use harness::{Command, Options, Server, Service, Shape, eventually};
use holdall_sql::testing::PostgresCluster;

const PROGRAMS: [Service; 4] = [Service::Auth, Service::Metadata, Service::Blob, Service::Gateway];

/// The address of the admin listener, from the log.
async fn admin(server: &Server, service: Service) -> String {
    let said = format!("{} admin listening on ", service.program());
    eventually("the admin listener is told", async || {
        let log = server.process(service).log();
        let line = log.lines().find_map(|line| line.split_once(&said))?.1.to_owned();
        Some(line.trim().to_owned())
    })
    .await
}

fn options() -> Options {
    Options::new().env("HOLDALL_ADMIN__LISTEN", "127.0.0.1:0")
}

#[tokio::test]
async fn every_process_tells_what_it_measures() {
    let server = Server::start_with(Shape::FourProcesses, options()).await;
    let alice = server.persona("alice").await;
    alice.upload("file", "content").await;
    assert_eq!(alice.download("file").await, "content");
    for (service, measured) in [
        (Service::Gateway, &["http_server_request_duration_seconds_bucket", "process_open_fds"][..]),
        (
            Service::Auth,
            &["rpc_server_call_duration_seconds_count", "db_client_operation_duration_seconds_count"],
        ),
        (
            Service::Metadata,
            &["rpc_server_call_duration_seconds_count", "db_client_connection_wait_time_seconds_sum"],
        ),
        (Service::Blob, &["holdall_blob_", "db_client_operation_duration_seconds_count"]),
    ] {
        let address = admin(&server, service).await;
        let get = async |path: &str| {
            let answer = reqwest::get(format!("{address}{path}")).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        assert_eq!(get("/livez").await.0, 200);
        assert_eq!(get("/readyz").await.0, 200);
        let (status, metrics) = get("/metrics").await;
        assert_eq!(status, 200);
        for name in measured {
            assert!(metrics.contains(name), "{service:?} lacks {name}:\n{metrics}");
        }
        for private in ["alice", alice.bearer().unwrap()] {
            assert!(!metrics.contains(private), "{service:?} shows {private}");
        }
        let (check, _) = Command::new("holdall-gateway")
            .arg("healthcheck")
            .arg("--url")
            .arg(format!("{address}/readyz"))
            .run()
            .await;
        assert!(check.success(), "{service:?}");
        let (check, _) = Command::new("holdall-gateway")
            .arg("healthcheck")
            .arg("--url")
            .arg(format!("{address}/none"))
            .run()
            .await;
        assert_eq!(check.code(), Some(1), "{service:?}");
    }
}

/// A schema is made by `migrate`, by somebody who may, and the service runs as somebody who may not.
#[tokio::test]
async fn a_schema_is_migrated_apart_from_the_start() {
    let server = Server::start(Shape::FourProcesses).await;
    for service in [Service::Auth, Service::Metadata, Service::Blob] {
        // Another replica, with a database that has no schema yet.
        let url = PostgresCluster::shared().create_database().await;
        let with = |command: Command| {
            command.env(&variable(service, "URL"), &url).env(&variable(service, "MIGRATE"), "false")
        };
        let start = with(server.another(service, "127.0.0.1:0"));
        let (status, log) = start.run().await;
        assert_eq!(status.code(), Some(78), "{service:?}: {log}");
        assert!(log.contains("run it with `migrate` first"), "{service:?}: {log}");

        let config = server.folder().join(format!("{}1.toml", service.name()));
        let migrate = Command::new(service.program()).arg("migrate").arg("--config").path(&config);
        let migrate = migrate.arg("--data-dir").path(&server.folder().join(format!("{}1", service.name())));
        let (status, log) = with(migrate).run().await;
        assert!(status.success(), "{service:?}: {log}");

        let process = start.start();
        process.address().await;
        process.sigterm();
        assert_eq!(process.exit().await.code(), Some(0), "{service:?}: {}", process.log());
    }
}

#[tokio::test]
async fn configuration_is_checked_without_starting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let check = async |service: Service, text: &str, env: &[(&str, &str)]| {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(service.program()).arg("--check-config").arg("--config").path(&file);
        command = command.arg("--data-dir").path(&folder.path().join("data"));
        for (name, value) in env {
            command = command.env(name, value);
        }
        let (status, log) = command.run().await;
        (status.code(), log)
    };
    let grants = |service: Service, text: &str| {
        let key = folder.path().join("key");
        fs::write(&key, format!("{}\n", "5a".repeat(32))).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let name = service.key("grants.key_files");
        format!("{name} = [{key:?}]\n{text}")
    };
    for service in PROGRAMS {
        let base = |text: &str| match service {
            Service::Metadata => grants(service, &format!("auth.url = \"http://127.0.0.1:1\"\n{text}")),
            Service::Blob => grants(service, text),
            Service::Auth | Service::Gateway => text.to_owned(),
        };
        let (code, log) = check(service, &base(""), &[]).await;
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("configuration is valid"), "{log}");
        let (code, log) = check(service, &base("server.lissten = \"127.0.0.1:0\"\n"), &[]).await;
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains("lissten"), "{log}");
        let (code, log) = check(service, &base("[nonsense]\nx = 1\n"), &[]).await;
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains("nonsense"), "{log}");
        for bad in
            ["server.listen = \"nowhere\"\n", "server.limits.max_connections = 0\n", "this is not TOML\n"]
        {
            let (code, log) = check(service, &base(bad), &[]).await;
            assert_eq!(code, Some(78), "{bad}: {log}");
        }
        let (code, log) = check(service, &base(""), &[("HOLDALL_SERVER__LISTENN", "127.0.0.1:0")]).await;
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains("HOLDALL_SERVER__LISTENN"), "{log}");
        let (code, log) = check(service, &base(""), &[("HOLDALL_SHUTDOWN__TIMEOUT", "5s")]).await;
        assert_eq!(code, Some(0), "{log}");
    }
    assert!(!folder.path().join("data").exists(), "checking makes nothing");
    let (status, log) =
        Command::new("holdall-gateway").arg("--config").arg("/nowhere/holdall.toml").run().await;
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("/nowhere/holdall.toml"), "{log}");
}

fn variable(service: Service, key: &str) -> String {
    let section = if service == Service::Blob { "INDEX" } else { "DATABASE" };
    format!("HOLDALL_{}__{section}__{key}", service.name().to_uppercase())
}
