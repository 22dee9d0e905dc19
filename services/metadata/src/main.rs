//! `holdall-metadata`: the metadata service as a process of its own.

use std::process::ExitCode;
use std::sync::Arc;

use holdall_metadata::{Deps, Process, build, migrate, settings};
use holdall_runtime::clock::Clock;
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::{doctor, run, serve, upstream};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let about = "Bring the database's schema up to date and exit";
    if let Some(code) = run::command("holdall-metadata", "migrate", about, |process, ()| migrate(process)) {
        return code;
    }
    if let Some(code) = doctor::command("holdall-metadata", holdall_metadata::doctor::look_at_process) {
        return code;
    }
    run::main("holdall-metadata", |process: run::Process<Process>| async move {
        let config = &process.config;
        let server = serve::Server::new(serve::Profile::Grpc, &config.server)?;
        let idempotent = Arc::new(holdall_proto::idempotent_methods());
        let auth = upstream::connect(&config.auth, Some(config.auth.timeout.get()), &idempotent)?;
        let listener = run::bind(config.server.listen).await?;
        // PostgreSQL may be shared by replicas; a file may not.
        let file = settings(&config.metadata, &config.data.dir).sqlite_path().is_some();
        let _data = file.then(|| DataDir::acquire(&config.data.dir, process.name)).transpose()?;
        let deps = Deps { auth, clock: Clock::System, shutdown: process.shutdown.clone() };
        let service = build(&config.metadata, &config.data.dir, deps).await?;
        process.announce(&server, &listener);
        server.serve(listener, service.routes.clone(), &process.shutdown).await;
        service.close().await;
        Ok(())
    })
}
