use std::net::SocketAddr;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    server: ServerConfig,
    data: DataConfig,
    telemetry: TelemetryConfig,
    other: Other,
    upstream: Upstreams,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Other {
    name: String,
    names: Vec<String>,
    size: Option<ByteSize>,
    on: bool,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Upstreams {
    auth: UpstreamConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), ..Default::default() },
            data: DataConfig::default(),
            telemetry: TelemetryConfig::default(),
            other: Other { name: "built in".to_owned(), ..Default::default() },
            upstream: Upstreams::default(),
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate().map_err(|invalid| invalid.within("server"))?;
        self.telemetry.validate().map_err(|invalid| invalid.within("telemetry"))?;
        self.upstream.auth.validate().map_err(|invalid| invalid.within("upstream.auth"))
    }
}

fn load(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holdall.toml");
    std::fs::write(&path, file).unwrap();
    let mut args = <Args as clap::Parser>::try_parse_from([&["holdall-test"], flags].concat()).unwrap();
    args.config = Some(path);
    load_from(&args, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn complaint(file: &str, environment: &[(&str, &str)]) -> String {
    load(file, environment, &[]).unwrap_err().to_string()
}

#[test]
fn nothing_given_is_the_default() {
    let config: Config = load_from(&Args::default(), []).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config, load("", &[], &[]).unwrap());
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_the_defaults() {
    let file = "server.listen = '127.0.0.1:1'\nother.name = 'file'\ndata.dir = 'file'";
    let config = load(file, &[], &[]).unwrap();
    assert_eq!((config.server.listen.port(), &*config.other.name), (1, "file"));

    let environment = [("HOLDALL_SERVER__LISTEN", "127.0.0.1:2"), ("HOLDALL_OTHER__NAME", "environment")];
    let config = load(file, &environment, &[]).unwrap();
    assert_eq!((config.server.listen.port(), &*config.other.name), (2, "environment"));
    assert_eq!(config.data.dir.to_str(), Some("file"));

    let config = load(file, &environment, &["--listen", "[::1]:3", "--data-dir", "flag"]).unwrap();
    assert_eq!((config.server.listen.port(), &*config.other.name), (3, "environment"));
    assert_eq!(config.data.dir.to_str(), Some("flag"));
}

#[test]
fn a_section_given_in_part_keeps_the_programs_own_defaults() {
    let config = load(
        "[server.limits]\nmax_connections = 7",
        &[("HOLDALL_SERVER__LIMITS__HEADER_TIMEOUT", "3s")],
        &[],
    )
    .unwrap();
    assert_eq!(config.server.listen, Config::default().server.listen);
    assert_eq!(config.server.limits.max_connections, 7);
    assert_eq!(config.server.limits.header_timeout, HumanDuration::from_secs(3));
    assert_eq!(config.server.limits.write_timeout, ServerLimits::default().write_timeout);
}

#[test]
fn variables_hold_toml_values_or_plain_text() {
    let environment = [
        ("HOLDALL_OTHER__NAME", "123"),
        ("HOLDALL_OTHER__NAMES", "['a', 'b']"),
        ("HOLDALL_OTHER__SIZE", "64MiB"),
        ("HOLDALL_OTHER__ON", "true"),
        ("HOLDALL_TOKEN", "not configuration"),
    ];
    let other = load("", &environment, &[]).unwrap().other;
    let names = vec!["a".to_owned(), "b".to_owned()];
    let size = Some(ByteSize::new(64 << 20));
    assert_eq!(other, Other { name: "123".to_owned(), names, size, on: true });

    let name = |value| load("", &[("HOLDALL_OTHER__NAME", value)], &[]).unwrap().other.name;
    assert_eq!(name("'quoted'"), "quoted");
    assert_eq!(name("a = b # c"), "a = b # c");
    assert_eq!(name("x\ny = 1"), "x\ny = 1");
    assert_eq!(name(""), "");
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let text = complaint("[server]\nlisten = '127.0.0.1:1'\nlimit = 3", &[]);
    assert!(text.contains("holdall.toml") && text.contains("line 3") && text.contains("`limit`"), "{text}");

    let text = complaint("", &[("HOLDALL_SERVER__LISTN", "x"), ("HOLDALL_OTHER__NAME", "fine")]);
    assert!(text.starts_with("HOLDALL_SERVER__LISTN: ") && text.contains("listen"), "{text}");

    let text = complaint("", &[("HOLDALL_NOTHING__HERE", "1")]);
    assert!(text.starts_with("HOLDALL_NOTHING__HERE: "), "{text}");

    let text = complaint("", &[("HOLDALL_OTHER__NAME__DEEPER", "1")]);
    assert!(text.starts_with("HOLDALL_OTHER__NAME__DEEPER: "), "{text}");
}

#[test]
fn wrong_values_are_refused_where_they_stand() {
    let text = complaint("[other]\n\nsize = '5 stones'", &[]);
    assert!(text.contains("line 3") && text.contains("5 stones"), "{text}");

    let text = complaint("this is not TOML", &[]);
    assert!(text.contains("holdall.toml") && text.contains("line 1"), "{text}");

    let text = complaint("", &[("HOLDALL_SERVER__LIMITS__MAX_CONNECTIONS", "many")]);
    assert!(text.starts_with("HOLDALL_SERVER__LIMITS__MAX_CONNECTIONS: "), "{text}");

    let missing = Args { config: Some("/nonexistent/holdall.toml".into()), ..Args::default() };
    assert!(matches!(load_from::<Config>(&missing, []), Err(ConfigError::Read { .. })));
}

#[test]
fn what_makes_no_sense_names_the_key_and_its_variable() {
    let text = complaint("[server.limits]\nmax_connections = 0", &[]);
    assert!(text.starts_with("server.limits.max_connections must be at least 1"), "{text}");
    assert!(text.contains("HOLDALL_SERVER__LIMITS__MAX_CONNECTIONS"), "{text}");

    for (file, key) in [
        ("telemetry.log = 'holdall=loud'", "telemetry.log"),
        ("telemetry.otlp_endpoint = 'localhost'", "telemetry.otlp_endpoint"),
        ("server.limits.write_timeout = '0s'", "server.limits.write_timeout"),
        ("[server.tls]\ncert_file = '/nonexistent'\nkey_file = '/nonexistent'", "server.tls.cert_file"),
        ("upstream.auth.url = 'auth:1'", "upstream.auth.url"),
        ("upstream.auth.url = 'https://auth:1'", "upstream.auth.ca_file"),
        ("upstream.auth.key_file = '/dev/null'", "upstream.auth.cert_file"),
    ] {
        match load(file, &[], &[]) {
            Err(ConfigError::Invalid(invalid)) => assert_eq!(invalid.key(), key),
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn a_section_may_be_completed_by_a_later_layer() {
    let dir = tempfile::tempdir().unwrap();
    let cert = dir.path().join("cert.pem");
    std::fs::write(&cert, "").unwrap();
    let cert = cert.to_str().unwrap();
    let file = format!("[server.tls]\ncert_file = '{cert}'");
    let config = load(&file, &[("HOLDALL_SERVER__TLS__KEY_FILE", cert)], &[]).unwrap();
    assert_eq!(config.server.tls.map(|tls| tls.key_file), Some(cert.into()));
    let text = complaint(&file, &[]);
    assert!(text.contains("holdall.toml") && text.contains("key_file"), "{text}");
}

#[test]
fn complaints_do_not_quote_variables() {
    for key in
        ["OTHER__SIZE", "OTHER__ON", "SERVER__LISTEN", "SERVER__LIMITS", "TELEMETRY__FORMAT", "OTHER__NAMES"]
    {
        let variable = format!("HOLDALL_{key}");
        let text = complaint("", &[(&variable, "s3cret")]);
        assert!(text.starts_with(&variable) && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn what_clients_may_call_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("some.pem");
    std::fs::write(&file, "").unwrap();
    let of = |more: &str| {
        let tls = format!("[server.tls]\ncert_file = {file:?}\nkey_file = {file:?}\n{more}");
        load(&tls, &[], &[]).map(|config| config.server)
    };
    let ca = format!("client_ca_file = {file:?}\n");
    let refused = |more: &str| of(more).unwrap_err().to_string();
    assert!(refused("client_calls = {}").contains("server.tls.client_ca_file is needed with client_calls"));
    assert!(refused(&format!("{ca}client_calls = {{'a b' = ['*']}}")).contains("no DNS name"));
    let stranger = format!("{ca}client_names = ['a.svc']\nclient_calls = {{'b.svc' = ['*']}}");
    assert!(refused(&stranger).contains("not among client_names"));

    let methods = ["/a.B/C".to_owned()];
    for (entry, good) in [
        ("*", true),
        ("a.B", true),
        ("a.B/C", true),
        ("grpc.reflection.v1.ServerReflection", true),
        ("a.B/D", false),
        ("a", false),
        ("a.b", false),
        ("/a.B/C", false),
        ("a.B/", false),
        ("", false),
    ] {
        let server = of(&format!("{ca}[server.tls.client_calls]\n'a.svc' = [{entry:?}]")).unwrap();
        let checked = server.check_calls(&methods);
        assert_eq!(checked.is_ok(), good, "{entry}");
        assert!(checked.err().is_none_or(|invalid| invalid.key() == "tls.client_calls"));
    }
    assert_eq!(ServerConfig::default().check_calls(&[]), Ok(()));
}
