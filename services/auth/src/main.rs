//! `holdall-auth`: the auth service as a process of its own.

use std::process::ExitCode;

use holdall_auth::{Process, build, migrate, operator};
use holdall_runtime::clock::Clock;
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::{doctor, run, serve};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let about = "Bring the database's schema up to date and exit";
    if let Some(code) = run::command("holdall-auth", "migrate", about, |process, ()| migrate(process)) {
        return code;
    }
    let role = |process: Process, change| async move {
        operator::change_role(process.auth, &process.data.dir, change).await
    };
    if let Some(code) = run::command("holdall-auth", "role", operator::ABOUT, role) {
        return code;
    }
    if let Some(code) = doctor::command("holdall-auth", holdall_auth::doctor::look_at_process) {
        return code;
    }
    run::main("holdall-auth", |process: run::Process<Process>| async move {
        let config = &process.config;
        let server = serve::Server::new(serve::Profile::Grpc, &config.server)?;
        let listener = run::bind(config.server.listen).await?;
        // PostgreSQL and a directory of keys may be shared by replicas; a data directory may not.
        let own = config.auth.needs_data_dir();
        let _data = own.then(|| DataDir::acquire(&config.data.dir, process.name)).transpose()?;
        let service =
            build(config.auth.clone().within(&config.data.dir), Clock::System, &process.shutdown).await?;
        process.announce(&server, &listener);
        server.serve(listener, service.routes.clone(), &process.shutdown).await;
        service.close().await;
        Ok(())
    })
}
