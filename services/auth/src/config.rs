//! What an operator can say about this service.

mod sections;

use std::path::Path;

use holdall_runtime::config::{
    AdminConfig, DataConfig, Invalid, ProcessConfig, ServerConfig, ShutdownConfig, TelemetryConfig, Validate,
};
use holdall_sql::Settings;
use serde::{Deserialize, Serialize};

pub(crate) use sections::policy;
pub use sections::{
    DelegationConfig, LifetimeConfig, PasswordConfig, RateLimitsConfig, RegistrationConfig, SessionsConfig,
    SigningConfig,
};

/// `[auth]`: the service, in a process of its own or inside the gateway's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where accounts and sessions are kept; `auth.db` in the data directory when no URL is given.
    pub database: Settings,
    /// Who may register.
    pub registration: RegistrationConfig,
    /// What passwords have to be like, and what hashing them costs.
    pub password: PasswordConfig,
    /// How long sessions live.
    pub sessions: SessionsConfig,
    /// What access tokens are signed with.
    pub signing: SigningConfig,
    /// Who may act for others.
    pub delegation: DelegationConfig,
    /// How often somebody may try.
    pub rate_limits: RateLimitsConfig,
}

impl Config {
    /// This configuration with what it leaves to the data directory filled in.
    #[must_use]
    pub fn within(mut self, data_dir: &Path) -> Self {
        self.database = self.database.or_file(&data_dir.join("auth.db"));
        self.signing.keys_dir.get_or_insert_with(|| data_dir.join("keys"));
        self
    }

    /// Whether something is left to the data directory.
    pub fn needs_data_dir(&self) -> bool {
        self.database.url.is_empty() || self.signing.keys_dir.is_none()
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        if self.database.max_connections == 0 {
            return Err(Invalid::new("database.max_connections", "must be at least 1"));
        }
        self.password.validate().map_err(|invalid| invalid.within("password"))?;
        self.sessions.validate().map_err(|invalid| invalid.within("sessions"))?;
        self.signing.validate().map_err(|invalid| invalid.within("signing"))?;
        self.rate_limits.validate().map_err(|invalid| invalid.within("rate_limits"))
    }
}

/// The configuration of the process `holdall-auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Where it listens.
    pub server: ServerConfig,
    /// Where it keeps what the service does not place elsewhere.
    pub data: DataConfig,
    /// The service itself.
    pub auth: Config,
    /// The listener for operators.
    pub admin: AdminConfig,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// How it stops.
    pub shutdown: ShutdownConfig,
}

impl Validate for Process {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate().map_err(|invalid| invalid.within("server"))?;
        self.server.check_calls(&holdall_proto::methods()).map_err(|invalid| invalid.within("server"))?;
        self.data.validate().map_err(|invalid| invalid.within("data"))?;
        self.auth.validate().map_err(|invalid| invalid.within("auth"))?;
        self.telemetry.validate().map_err(|invalid| invalid.within("telemetry"))?;
        self.shutdown.validate().map_err(|invalid| invalid.within("shutdown"))
    }
}

impl ProcessConfig for Process {
    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn shutdown(&self) -> &ShutdownConfig {
        &self.shutdown
    }

    fn admin(&self) -> &AdminConfig {
        &self.admin
    }
}

#[cfg(test)]
mod tests;
