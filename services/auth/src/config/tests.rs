use holdall_runtime::config::{Args, load_from};

use super::*;

fn load(variables: &[(&str, &str)]) -> Result<Process, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_from(&Args::default(), variables).map_err(|error| error.to_string())
}

#[test]
fn the_defaults_are_valid() {
    assert_eq!(load(&[]).unwrap(), Process::default());
    assert!(Config::default().validate().is_ok());
}

#[test]
fn keys_of_every_section_can_be_set() {
    let service = load(&[
        ("HOLDALL_AUTH__DATABASE__URL", "postgres://db/auth"),
        ("HOLDALL_AUTH__REGISTRATION__OPEN", "false"),
        ("HOLDALL_AUTH__PASSWORD__MEMORY_KIB", "65536"),
        ("HOLDALL_AUTH__SESSIONS__WEB__IDLE", "1h"),
        ("HOLDALL_AUTH__SESSIONS__SYNC__ABSOLUTE", "100d"),
        ("HOLDALL_AUTH__SIGNING__KEYS_DIR", "/keys"),
        ("HOLDALL_AUTH__DELEGATION__KEY_FILES", "[\"/keys/one\", \"/keys/two\"]"),
        ("HOLDALL_AUTH__RATE_LIMITS__ENABLED", "false"),
    ])
    .unwrap()
    .auth;
    assert!(!service.registration.open);
    assert_eq!(service.password.cost().memory_kib, 65_536);
    assert_eq!(service.sessions.web.idle, holdall_runtime::config::HumanDuration::from_secs(3_600));
    assert_eq!(service.sessions.web.absolute, SessionsConfig::default().web.absolute);
    assert_eq!(service.sessions.sync.idle, SessionsConfig::default().sync.idle);
    assert_eq!(service.delegation.key_files, [Path::new("/keys/one"), Path::new("/keys/two")]);
    assert_eq!(service.rate_limits.rates(), None);
    assert!(!service.needs_data_dir());
    assert_eq!(service.clone().within(Path::new("/data")), service);
}

#[test]
fn what_is_not_placed_goes_to_the_data_directory() {
    let config = Config::default();
    assert!(config.needs_data_dir());
    let config = config.within(Path::new("/data"));
    assert_eq!(config.database.sqlite_path(), Some(Path::new("/data/auth.db")));
    assert_eq!(config.signing.keys_dir.as_deref(), Some(Path::new("/data/keys")));
}

#[test]
fn nonsense_is_refused_by_the_name_of_its_key() {
    for (name, value, key) in [
        ("HOLDALL_AUTH__PASSWORD__MEMORY_KIB", "7", "password.memory_kib"),
        ("HOLDALL_AUTH__PASSWORD__ITERATIONS", "0", "password.memory_kib"),
        ("HOLDALL_AUTH__PASSWORD__MIN_LENGTH", "0", "password.min_length"),
        ("HOLDALL_AUTH__SESSIONS__API__IDLE", "91d", "sessions.api.idle"),
        ("HOLDALL_AUTH__SESSIONS__API__IDLE", "0s", "sessions.api.idle"),
        ("HOLDALL_AUTH__SIGNING__TOKEN_LIFETIME", "1m", "signing.token_lifetime"),
        ("HOLDALL_AUTH__SIGNING__ROTATE_AFTER", "1h", "signing.rotate_after"),
        ("HOLDALL_AUTH__RATE_LIMITS__FREE_FAILURES", "0", "rate_limits.free_failures"),
        ("HOLDALL_AUTH__DATABASE__MAX_CONNECTIONS", "0", "database.max_connections"),
        ("HOLDALL_AUTH__PASSWORD__MEMORY", "1", "HOLDALL_AUTH__PASSWORD__MEMORY"),
    ] {
        let error = load(&[(name, value)]).unwrap_err();
        assert!(error.contains(key), "{name}={value}: {error}");
    }
}
