//! `holdall-gateway doctor`: what this process needs, and the services inside it.

use std::process::ExitCode;

use holdall_runtime::doctor::{self, Report};

use crate::config::Config;
use crate::embedded;

/// Does that when the arguments ask for it.
pub fn main() -> Option<ExitCode> {
    doctor::command("holdall-gateway", look)
}

/// Looks at all of it.
pub async fn look(config: Config) -> Report {
    let mut report = Report::default();
    let needs_data = config.auth.is_embedded() || config.metadata.is_embedded() || config.blob.is_embedded();
    let is_running = needs_data && report.data_dir(&config.data.dir);
    report.server(&config.server, is_running);
    for address in &config.public.also_listen {
        report.listen("public.also_listen", *address, is_running);
    }
    if let Some(address) = config.admin.listen {
        report.listen("admin.listen", address, is_running);
    }
    embedded::doctor::look(&config, &mut report).await;
    for (name, upstream) in [
        ("auth", &config.auth.upstream),
        ("metadata", &config.metadata.upstream),
        ("blob", &config.blob.upstream),
    ] {
        if upstream.url.is_some() {
            report.upstream(name, upstream).await;
        }
    }
    embedded::doctor::compare_keys(&config, &mut report).await;
    report
}
