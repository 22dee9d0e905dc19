//! The programs under test.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Where to find the program `name`; all programs are built at the first call, with the profile of the tests.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    if let Some(folder) = env::var_os("HOLDALL_E2E_BIN_DIR") {
        return Path::new(&folder).join(name);
    }
    let built = BUILT.get_or_init(build);
    built.get(name).unwrap_or_else(|| panic!("the workspace has no binary called {name}: {built:?}")).clone()
}

/// The folder of the workspace's `Cargo.toml`.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}

fn build() -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"]);
    // Naming the tests too makes cargo choose the features that `cargo test --workspace` chose: nothing is built twice.
    cargo.arg("--tests");
    // Trap: build scripts that watch what cargo tells a test about its own package (ring's does) would run again, and
    // with them everything above, now and at the next build.
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    match profile().as_str() {
        "debug" => {}
        other => {
            cargo.args(["--profile", other]);
        }
    }
    let output = cargo
        .current_dir(workspace_root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the binaries under test do not build");
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["kind"][0] == "bin" && message["profile"]["test"] == false)
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, message["executable"].as_str()?.into()))
        })
        .collect()
}

/// The name of the folder in `target` that this very test was built into.
fn profile() -> String {
    let this = env::current_exe().expect("a test knows its own path");
    // target/PROFILE/deps/TEST-HASH for a test, target/PROFILE/BINARY for a program.
    let folder = this.parent().expect("it is in a folder");
    let folder =
        if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
    folder.file_name().expect("the profile names the folder").to_string_lossy().into_owned()
}
