//! The README's quick start, word for word.
//!
//! Every block fenced `sh` under the headings `Start` and `A five-minute tour` is run, in order, as one script by
//! `bash -euo pipefail`, in a folder that looks like a clone. A fence `text` after a block says what its output must
//! contain: each line of it, with `…` for anything.
//!
//! Three things stand in for what a reader has:
//! - `127.0.0.1:8080` becomes an address that is free;
//! - `cargo` gives what is built already: `run --release` starts the server and comes back when it listens,
//!   `install --path clients/cli` puts `holdall` on the path, `build` does nothing;
//! - curl fails where the server answers with an error, without being told to.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
    time::Duration,
};

use harness::{Command, Process, binary, eventually, within, workspace_root};

const HEADINGS: [&str; 2] = ["Start", "A five-minute tour"];

/// What the reader runs and what it shows.
#[derive(Debug, PartialEq)]
struct Block {
    script: String,
    shows: Vec<String>,
}

/// The blocks under the headings, each with the `text` fence that follows it.
fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut wanted, mut fence) = (false, None);
    for line in readme.lines() {
        match (&fence, line.strip_prefix("```")) {
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    wanted = HEADINGS.contains(&heading.trim());
                }
            }
            (None, Some(kind)) => {
                let kind = kind.trim().to_owned();
                if wanted && kind == "sh" {
                    blocks.push(Block { script: String::new(), shows: Vec::new() });
                }
                fence = Some(kind);
            }
            (Some(_), Some(_)) => fence = None,
            (Some(kind), None) => {
                let Some(block) = blocks.last_mut().filter(|_| wanted) else { continue };
                match kind.as_str() {
                    "sh" => block.script.push_str(&format!("{line}\n")),
                    "text" => block.shows.push(line.trim().to_owned()),
                    _ => {}
                }
            }
        }
    }
    blocks
}

/// Whether a line has these parts, in order, with anything where `…` stands.
fn shows(line: &str, wanted: &str) -> bool {
    let mut rest = line;
    wanted.split('…').all(|part| match rest.find(part.trim()) {
        Some(at) => {
            rest = &rest[at + part.trim().len()..];
            true
        }
        None => false,
    })
}

/// Stands in for cargo: asks the test to start the server, and waits until it listens.
const CARGO: &str = r#"#!/bin/bash
case "$*" in
    "run --release") : > "$QUICK_START/request" ;;
    "run --release -- "*) shift 3; printf '%s\n' "$@" > "$QUICK_START/request" ;;
    "build --release"|"build --release --workspace") exit 0 ;;
    "install --path clients/cli"|"install --locked --path clients/cli")
        ln -sf "$QUICK_START_CLI" "$QUICK_START/bin/holdall"; exit 0 ;;
    *) echo "cargo $*: the quick start must not need this" >&2; exit 1 ;;
esac
mv "$QUICK_START/request" "$QUICK_START/start"
until [ -e "$QUICK_START/ready" ]; do sleep 0.05; done
"#;

/// Runs a README from that folder; gives what its blocks printed.
async fn run(readme: &str, clone: &Path) -> Result<(), String> {
    let blocks = blocks(readme);
    assert!(!blocks.is_empty(), "the README has no blocks to run under {HEADINGS:?}");
    let aside = tempfile::tempdir().expect("a temporary folder");
    let (bin, home) = (aside.path().join("bin"), aside.path().join("home"));
    fs::create_dir(&bin).expect("it is empty");
    fs::create_dir(&home).expect("it is empty");
    fs::write(home.join(".curlrc"), "fail-with-body\nsilent\nshow-error\n").expect("it is a folder");
    let cargo = bin.join("cargo");
    fs::write(&cargo, CARGO).expect("it is a folder");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("it is our file");

    // Free now; nobody takes it in the moment until the server does, or the test is run again.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let mut script = String::new();
    for (number, block) in blocks.iter().enumerate() {
        let text = block.script.replace("127.0.0.1:8080", &free.to_string());
        let text = text.replace("localhost:8080", &free.to_string());
        script.push_str(&format!("{text}echo; echo '-- end of block {number} --'\n"));
    }
    let path = std::env::var("PATH").expect("there is a PATH");
    let mut shell = tokio::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(clone)
        .env_clear()
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("HOME", &home)
        .env("QUICK_START", aside.path())
        .env("QUICK_START_CLI", binary("holdall"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("bash is installed");

    let output = async {
        use tokio::io::AsyncReadExt;
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) =
            (shell.stdout.take().expect("piped"), shell.stderr.take().expect("piped"));
        let (one, two) = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
        one.and(two).expect("the script writes UTF-8");
        (shell.wait().await.expect("it is our child"), out, err)
    };
    let server = async {
        let request = aside.path().join("start");
        loop {
            let args =
                eventually("the README starts the server", async || fs::read_to_string(&request).ok()).await;
            fs::remove_file(&request).expect("it is ours");
            let mut command = Command::new("holdall-gateway")
                .current_dir(clone)
                .env("HOLDALL_SERVER__LISTEN", &free.to_string())
                .env("HOLDALL_AUTH__PASSWORD__MEMORY_KIB", "8");
            command = args.lines().fold(command, Command::arg);
            let process: Process = command.start();
            process.address().await;
            fs::write(aside.path().join("ready"), "").expect("it is a folder");
            // Held until the script has ended.
            std::future::pending::<()>().await;
            drop(process);
        }
    };
    let (status, out, err) = within(Duration::from_secs(120), "the quick start", async {
        tokio::select! {
            output = output => output,
            () = server => unreachable!("the server is held"),
        }
    })
    .await;

    let mut rest = out.as_str();
    for (number, block) in blocks.iter().enumerate() {
        let Some((printed, after)) = rest.split_once(&format!("-- end of block {number} --\n")) else {
            return Err(format!("failed with {status} in this block:\n{}\n{rest}\n{err}", block.script));
        };
        for wanted in block.shows.iter().filter(|wanted| !wanted.is_empty()) {
            let wanted = wanted.replace("127.0.0.1:8080", &free.to_string());
            if !printed.lines().any(|line| shows(line, &wanted)) {
                return Err(format!("does not show {wanted:?}:\n{}\n{printed}\n{err}", block.script));
            }
        }
        rest = after;
    }
    if status.success() { Ok(()) } else { Err(format!("failed with {status}:\n{err}")) }
}

/// A folder that looks like a clone: what the repository holds, and room for more.
fn clone() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(workspace_root()).expect("the workspace is there") {
        let entry = entry.expect("it can be read");
        if entry.file_name() != "target" && entry.file_name() != "holdall-data" {
            symlink(entry.path(), folder.path().join(entry.file_name())).expect("the folder is empty");
        }
    }
    folder
}

#[tokio::test]
async fn the_readme_works_as_it_stands() {
    let readme = fs::read_to_string(workspace_root().join("README.md")).expect("there is a README");
    let clone = clone();
    if let Err(problem) = run(&readme, clone.path()).await {
        panic!("the README's quick start {problem}");
    }
}

const GOOD: &str = "\
# Holdall
```sh
exit 1 # not under a heading that counts
```
## Start
```sh
cargo run --release
```
```text
holdall-gateway listening on http://127.0.0.1:8080
```
## A five-minute tour
```sh
HOLDALL=http://127.0.0.1:8080
curl $HOLDALL/healthz
```
It says:
```text
o…k
```
```sh
curl $HOLDALL/readyz > /dev/null
cargo install --path clients/cli
holdall --version
test -e Cargo.toml
```
```json
{}
```
## Test
```sh
exit 1
```
";

#[test]
fn blocks_are_found_where_they_count() {
    let found = blocks(GOOD);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].script, "cargo run --release\n");
    assert_eq!(found[1].shows, ["o…k"]);
    assert_eq!(found[2].shows, [""; 0]);
    assert!(shows("holdall listening on x:1", "listening … x"));
    assert!(!shows("x listening", "listening … x"));
}

#[tokio::test]
async fn a_good_readme_passes() {
    let readme = GOOD.replace("holdall-gateway listening on http://127.0.0.1:8080\n", "");
    let clone = clone();
    run(&readme, clone.path()).await.expect("it works");
}

#[tokio::test]
async fn a_readme_with_a_mistake_fails() {
    for (right, wrong) in [
        ("curl $HOLDALL/healthz", "curl $HOLDALL/nowhere"),
        ("o…k", "not o…k"),
        ("holdall --version", "holdall --no-such-flag"),
        ("cargo install --path clients/cli", "cargo frobnicate"),
        ("test -e Cargo.toml", "echo $UNSET"),
        ("curl $HOLDALL/healthz", "false | true"),
    ] {
        let readme = GOOD.replace("holdall-gateway listening on http://127.0.0.1:8080\n", "");
        let readme = readme.replacen(right, wrong, 1);
        let clone = clone();
        let problem = run(&readme, clone.path()).await.expect_err(wrong);
        assert!(!problem.is_empty());
    }
}
