//! A whole server: nothing but the health service, which anybody may call, and reflection, which needs a
//! token nobody has.

use std::process::ExitCode;

use holdall_runtime::clock::Clock;
use holdall_runtime::config::{self, Invalid, ProcessConfig, Validate};
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::health;
use holdall_runtime::layers::{self, Admission, HEALTH};
use holdall_runtime::run::{self, Process, StartError};
use holdall_runtime::serve::{Profile, Server};
use holdall_runtime::token::{Verifier, key_source};
use serde::{Deserialize, Serialize};
use tonic::service::Routes;

const NAME: &str = "holdall-example";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    server: config::ServerConfig,
    data: config::DataConfig,
    admin: config::AdminConfig,
    telemetry: config::TelemetryConfig,
    shutdown: config::ShutdownConfig,
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate().map_err(|invalid| invalid.within("server"))?;
        self.data.validate().map_err(|invalid| invalid.within("data"))?;
        self.telemetry.validate().map_err(|invalid| invalid.within("telemetry"))?;
        self.shutdown.validate().map_err(|invalid| invalid.within("shutdown"))
    }
}

impl ProcessConfig for Config {
    fn telemetry(&self) -> &config::TelemetryConfig {
        &self.telemetry
    }

    fn shutdown(&self) -> &config::ShutdownConfig {
        &self.shutdown
    }

    fn admin(&self) -> &config::AdminConfig {
        &self.admin
    }
}

fn main() -> ExitCode {
    run::main(NAME, serve)
}

async fn serve(process: Process<Config>) -> Result<(), StartError> {
    let server = Server::new(Profile::Grpc, &process.config.server)?;
    let _owned = DataDir::acquire(&process.config.data.dir, NAME)?;
    let listener = run::bind(process.config.server.listen).await?;

    let verifier = Verifier::new("nobody", "nobody", key_source(async || Ok(Vec::new())), Clock::System);
    let routes = health::add_health(Routes::default(), &process.shutdown, &[]);
    let routes = layers::wrap(routes, Admission::new(verifier, &[HEALTH]));

    process.announce(&server, &listener);
    server.serve(listener, routes, &process.shutdown).await;
    Ok(())
}
