//! `holdall-gateway`: Holdall's HTTP side, and by default all of Holdall in one process.

use std::process::ExitCode;

use holdall_runtime::run;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let commands =
        [holdall_gateway::healthcheck::main, holdall_gateway::backup::main, holdall_gateway::doctor::main];
    if let Some(code) = commands.into_iter().find_map(|command| command()) {
        return code;
    }
    if let Some(code) = holdall_gateway::embedded::role_command("holdall-gateway") {
        return code;
    }
    run::main("holdall-gateway", holdall_gateway::run)
}
