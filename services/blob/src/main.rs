//! `holdall-blob`: the blob service as a process of its own.

use std::process::ExitCode;
use std::sync::Arc;

use holdall_blob::{Process, build, migrate, offline};
use holdall_runtime::clock::Clock;
use holdall_runtime::{doctor, run, serve, upstream};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if let Some(code) = offline::main() {
        return code;
    }
    let about = "Bring the schema of the index up to date and exit";
    if let Some(code) = run::command("holdall-blob", "migrate", about, |process, ()| migrate(process)) {
        return code;
    }
    if let Some(code) = doctor::command("holdall-blob", holdall_blob::doctor::look_at_process) {
        return code;
    }
    run::main("holdall-blob", |process: run::Process<Process>| async move {
        let config = &process.config;
        let server = serve::Server::new(serve::Profile::Grpc, &config.server)?;
        let listener = run::bind(config.server.listen).await?;
        let idempotent = Arc::new(holdall_proto::idempotent_methods());
        let timeout = Some(config.metadata.timeout.get());
        let is_told = config.metadata.url.is_some();
        let metadata = is_told.then(|| upstream::connect(&config.metadata, timeout, &idempotent));
        let mut service = build(&config.blob, &config.data.dir, Clock::System, &process.shutdown).await?;
        service.start_jobs(metadata.transpose()?, &process.shutdown);
        process.announce(&server, &listener);
        server.serve(listener, service.routes.clone(), &process.shutdown).await;
        service.close().await;
        Ok(())
    })
}
