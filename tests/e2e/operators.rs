//! What operators do while the system runs: administrators are made by a command, and background jobs are reached at the
//! address of the gateway.

use std::{path::Path, process::ExitStatus};

use bytes::Bytes;
use harness::{
    Command, Persona, Server, Service, Shape, both_shapes, eventually,
    grpc::{connect, refused, signed},
    shared,
};
use holdall_proto::{
    blob::v1::{
        JobKind, JobState, ListJobsRequest, StartJobRequest, StopJobRequest, admin_service_client as blob,
    },
    metadata::v1::{CreateAdminGrantRequest, admin_service_client as metadata},
};
use tonic::{Code, Status, transport::Channel};

both_shapes!(an_administrator_is_made_by_a_command);

/// Runs `PROGRAM role …` with the configuration of that service's first process.
async fn role(server: &Server, of: Service, username: &str, role: &str) -> (ExitStatus, String) {
    let config = server.folder().join(format!("{}.toml", of.name()));
    let data_dir = match server.shape() {
        Shape::OneProcess => server.data_dir(),
        _ => server.folder().join(of.name()),
    };
    let command = Command::new(of.program()).arg("role").arg(username).arg(role);
    command.arg("--config").path(&config).arg("--data-dir").path(&data_dir).run().await
}

async fn ask(channel: &Channel, alice: &Persona) -> Result<Bytes, Status> {
    let mut client = metadata::AdminServiceClient::new(channel.clone());
    let request = signed(alice.bearer().expect("she is signed in"), CreateAdminGrantRequest {});
    Ok(client.create_admin_grant(request).await?.into_inner().admin_grant)
}

async fn an_administrator_is_made_by_a_command(server: &Server) {
    let holder = match server.shape() {
        Shape::OneProcess => Service::Gateway,
        _ => Service::Auth,
    };
    let (status, help) = Command::new(holder.program()).arg("role").arg("--help").run().await;
    assert!(status.success() && help.contains("Make an account an administrator"), "{help}");
    let alice = server.persona("alice").await;
    let channel = connect(&server.url()).await;
    refused(ask(&channel, &alice).await, Code::PermissionDenied, "FORBIDDEN");

    let (status, log) = role(server, holder, &alice.username.to_uppercase(), "admin").await;
    assert!(status.success() && log.contains(&format!("{} is admin now", alice.username)), "{log}");
    // Her session has it from its next exchange on, which is remembered for some seconds.
    let grant = eventually("she is an administrator", async || ask(&channel, &alice).await.ok()).await;
    let mut jobs = blob::AdminServiceClient::new(channel.clone());
    let handle = alice.bearer().expect("she is signed in");
    let list = jobs.list_jobs(signed(handle, ListJobsRequest { grant: grant.clone() })).await.unwrap();
    assert_eq!(list.into_inner().jobs.len(), 3);
    if server.shape() == Shape::OneProcess {
        let kind = JobKind::Scrub.into();
        let stop = signed(handle, StopJobRequest { grant: grant.clone(), kind });
        jobs.stop_job(stop).await.unwrap();
        let start = signed(handle, StartJobRequest { grant, kind });
        let started = jobs.start_job(start).await.unwrap().into_inner().job.unwrap();
        assert_ne!(started.state(), JobState::Stopped);
        for what in ["a job was told to stop", "a job was told to start"] {
            is_logged(server, what, &alice.account_id).await;
        }
    }

    let (status, log) = role(server, holder, &alice.username, "member").await;
    assert!(status.success() && log.contains("is member now"), "{log}");
    let refusal = eventually("she is none any more", async || {
        // Each time by another replica.
        for _ in 0..12 {
            ask(&channel, &alice).await.err()?;
        }
        Some(ask(&channel, &alice).await)
    })
    .await;
    refused(refusal, Code::PermissionDenied, "FORBIDDEN");

    for (username, given, code) in
        [("nobody of that name", "admin", 70), (&*alice.username, "system", 2), (&*alice.username, "", 2)]
    {
        let (status, log) = role(server, holder, username, given).await;
        assert_eq!(status.code(), Some(code), "{username} {given}: {log}");
    }
    if holder == Service::Auth {
        let (status, log) = role(server, Service::Gateway, &alice.username, "admin").await;
        assert!(status.code() == Some(78) && log.contains("holdall-auth role"), "{log}");
    }
}

/// Waits until a line of the log has both.
async fn is_logged(server: &Server, what: &str, who: &str) {
    eventually(&format!("{what:?} is logged"), async || {
        server.log().lines().any(|line| line.contains(what) && line.contains(who)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn jobs_are_reached_at_the_gateway() {
    let server = shared(Shape::OneProcess).await;
    let _log = server.log_on_failure();
    let key = server.data_dir().join("keys/grants.key");
    let jobs = async |key: &Path, arguments: &[&str]| {
        let command = arguments
            .iter()
            .fold(Command::new("holdall-blob").arg("jobs"), |command, argument| command.arg(*argument));
        command.arg("--url").arg(server.url()).arg("--grant-key").path(key).run().await
    };
    let (status, said) = jobs(&key, &["list"]).await;
    assert!(status.success(), "{said}");
    for kind in ["collect", "compact", "scrub"] {
        assert!(said.contains(kind), "{said}");
    }
    let (status, said) = jobs(&key, &["stop", "compact"]).await;
    assert!(status.success() && said.contains("compact"), "{said}");
    is_logged(server, "a job was told to stop", "holdall-blob jobs").await;
    let (status, said) = jobs(&key, &["start", "compact"]).await;
    assert!(status.success() && !said.contains("stopped"), "{said}");
    is_logged(server, "a job was told to start", "holdall-blob jobs").await;

    let other = server.data_dir().join("keys/delegation.key");
    let (status, said) = jobs(&other, &["list"]).await;
    assert!(status.code() == Some(70) && said.contains("grant"), "{said}");
}

/// Who watches at a gateway does not keep it from stopping.
#[tokio::test]
async fn a_gateway_stops_while_somebody_watches() {
    for shape in [Shape::OneProcess, Shape::FourProcesses] {
        let mut server = Server::start(shape).await;
        let key = match shape {
            Shape::OneProcess => server.data_dir().join("keys/grants.key"),
            _ => server.folder().join("grant.key"),
        };
        let watch = Command::new("holdall-blob").arg("jobs").arg("watch");
        let watch = watch.arg("--url").arg(server.url()).arg("--grant-key").path(&key).start();
        eventually("somebody watches", async || watch.log().contains("compact").then_some(())).await;
        // Each process has to end well.
        server.stop().await;
        watch.exit().await;
    }
}
