//! The program against a server that breaks off, moves, and says no.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a connection asked for.
#[derive(Clone, Debug, Default)]
struct Asked {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads the head, and of the body at most `limit` bytes.
    fn read(stream: &TcpStream, limit: usize) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut asked = Self::default();
        reader.read_line(&mut asked.line).ok().filter(|&read| read > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            asked.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
        asked.body.resize(limit.min(length), 0);
        reader.read_exact(&mut asked.body).ok()?;
        if asked.header("transfer-encoding") == Some("chunked") {
            while !asked.body.ends_with(b"0\r\n\r\n") {
                reader.read_until(b'\n', &mut asked.body).ok().filter(|&read| read > 0)?;
            }
        }
        Some(asked)
    }
}

/// A server that answers each connection by the next step of a script, and remembers what was asked.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// How much of the body to read, and what to send before hanging up.
type Step = (usize, Vec<u8>);

impl Server {
    fn start(script: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for (limit, answer) in script {
                let Ok((mut stream, _)) = listener.accept() else { return };
                if let Some(asked) = Asked::read(&stream, limit) {
                    seen.lock().unwrap().push(asked);
                }
                let _ = stream.write_all(&answer);
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(head: &str, body: &[u8]) -> Step {
    let mut answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").into_bytes();
    answer.extend_from_slice(body);
    (usize::MAX, answer)
}

fn sized(head: &str, body: &[u8]) -> Step {
    answer(&format!("{head}\r\nContent-Length: {}", body.len()), body)
}

fn problem(status: u16, code: &str) -> Step {
    let body = format!(r#"{{"status":{status},"code":"{code}","title":"Title","detail":"What to do."}}"#);
    sized(&format!("{status} X\r\nContent-Type: application/problem+json"), body.as_bytes())
}

/// What a probe for the kind of a path is answered.
fn a_file() -> Step {
    problem(409, "not_a_folder")
}

struct Home(tempfile::TempDir);

impl Home {
    /// Somebody who is signed in.
    fn signed_in(server: &Server) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let config = format!("url = \"{}/\"\nusername = \"ada\"\ntoken = \"hs_secret\"\n", server.url);
        std::fs::write(home.path("config.toml"), config).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdall"));
        command.args(args).current_dir(self.0.path()).env("HOLDALL_CONFIG", self.path("config.toml"));
        for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env_remove(variable);
        }
        command
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn content() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

const OK: &str = "200 OK\r\nETag: \"b3-1\"";

fn cut_at(length: usize) -> Step {
    let content = content();
    answer(&format!("{OK}\r\nContent-Length: {}", content.len()), &content[..length])
}

fn rest_from(start: usize) -> Step {
    let content = content();
    let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
    sized(&format!("206 Partial Content\r\nETag: \"b3-1\"\r\nContent-Range: {range}"), &content[start..])
}

#[test]
fn a_download_goes_on_where_it_was_cut_off() {
    let server = Server::start(vec![a_file(), cut_at(150_000), rest_from(150_000)]);
    let home = Home::signed_in(&server);
    let output = home.run(&["get", "a/b c.bin"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(std::fs::read(home.path("b c.bin")).unwrap(), content());
    let asked = server.asked();
    assert!(asked[1].line.starts_with("GET /api/v1/fs/a/b%20c.bin HTTP"), "{}", asked[1].line);
    assert_eq!(asked[1].header("authorization"), Some("Bearer hs_secret"));
    assert_eq!(asked[2].header("range"), Some("bytes=150000-"));
    assert_eq!(asked[2].header("if-range"), Some("\"b3-1\""));
    let left: Vec<_> =
        std::fs::read_dir(home.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_later_command_goes_on_too() {
    let nothing = || (0, Vec::new());
    let server = Server::start(vec![
        a_file(),
        cut_at(1_000),
        nothing(),
        nothing(),
        nothing(),
        a_file(),
        rest_from(1_000),
    ]);
    let home = Home::signed_in(&server);
    let output = home.run(&["get", "x", "here"]);
    assert_eq!(code(&output), 6, "{}", said(&output));
    assert!(!home.path("here").exists());
    assert_eq!(std::fs::read(home.path("here.part")).unwrap(), content()[..1_000]);
    let output = home.run(&["get", "x", "here"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(std::fs::read(home.path("here")).unwrap(), content());
}

#[test]
fn content_that_has_changed_is_fetched_whole() {
    let server = Server::start(vec![a_file(), cut_at(150_000), sized("200 OK\r\nETag: \"b3-2\"", b"new")]);
    let home = Home::signed_in(&server);
    let output = home.run(&["get", "x"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(std::fs::read(home.path("x")).unwrap(), b"new");
}

#[test]
fn what_was_complete_but_not_renamed_is_fetched_again() {
    let all = content();
    let server = Server::start(vec![a_file(), problem(416, "range_not_satisfiable"), sized(OK, &all)]);
    let home = Home::signed_in(&server);
    std::fs::write(home.path("x.part"), &all).unwrap();
    std::fs::write(home.path("x.part.etag"), "\"b3-1\"").unwrap();
    let output = home.run(&["get", "x"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(std::fs::read(home.path("x")).unwrap(), all);
}

#[test]
fn another_range_than_was_asked_for_is_refused() {
    let server = Server::start(vec![a_file(), cut_at(150_000), rest_from(100_000)]);
    let home = Home::signed_in(&server);
    let output = home.run(&["get", "x"]);
    assert_eq!(code(&output), 1, "{}", said(&output));
    assert!(!home.path("x").exists());
}

#[test]
fn an_upload_is_tried_once_more_with_the_same_key() {
    let cut = (10_000, Vec::new());
    let server = Server::start(vec![problem(404, "not_found"), cut, sized("201 Created", b"{}")]);
    let home = Home::signed_in(&server);
    std::fs::write(home.path("up.bin"), content()).unwrap();
    let output = home.run(&["put", "up.bin", "dir/new name.bin"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let asked = server.asked();
    assert!(asked[2].line.starts_with("PUT /api/v1/fs/dir/new%20name.bin HTTP"), "{}", asked[2].line);
    assert_eq!(asked[2].body, content());
    let keys: Vec<_> = asked[1..].iter().map(|asked| asked.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn an_upload_that_breaks_twice_is_given_up() {
    let cut = || (10_000, Vec::new());
    let server = Server::start(vec![problem(404, "not_found"), cut(), cut()]);
    let home = Home::signed_in(&server);
    std::fs::write(home.path("up.bin"), content()).unwrap();
    let output = home.run(&["put", "up.bin", "x"]);
    assert_eq!(code(&output), 6, "{}", said(&output));
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn standard_input_is_uploaded_once() {
    let server = Server::start(vec![sized("201 Created", b"{}")]);
    let home = Home::signed_in(&server);
    let mut child = home.command(&["put", "-", "notes.txt"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let asked = server.asked();
    assert_eq!(asked[0].header("transfer-encoding"), Some("chunked"));
    assert_eq!(asked[0].body, b"5\r\nhello\r\n0\r\n\r\n");
    let output = home.run(&["put", "-", "folder/"]);
    assert_eq!(code(&output), 2, "{}", said(&output));
}

#[test]
fn exit_codes_tell_refusals_apart() {
    for (step, expected, text) in [
        (problem(401, "unauthenticated"), 3, "holdall login"),
        (problem(404, "not_found"), 4, "no such file or folder"),
        (problem(409, "name_conflict"), 5, "What to do"),
        (problem(412, "precondition_failed"), 5, "What to do"),
        (problem(429, "rate_limited"), 6, "What to do"),
        (problem(503, "unavailable"), 6, "What to do"),
        (problem(507, "quota_exceeded"), 7, "What to do"),
        (problem(413, "too_large"), 7, "What to do"),
        (problem(422, "invalid_name"), 1, "What to do"),
        (problem(500, "internal"), 1, "What to do"),
        (sized("404 Not Found", b"<html>"), 4, "is the address right?"),
        (sized("200 OK", b"<html>"), 1, "Holdall server"),
        ((usize::MAX, Vec::new()), 6, "the connection broke"),
        (sized("308 Moved\r\nLocation: https://elsewhere/", b""), 1, "https://elsewhere/"),
    ] {
        let server = Server::start(vec![step]);
        let output = Home::signed_in(&server).run(&["ls", "x"]);
        assert_eq!(code(&output), expected, "{text}: {}", said(&output));
        assert!(said(&output).contains(text), "{text}: {}", said(&output));
        assert!(!said(&output).contains("hs_secret"));
        assert_eq!(server.asked().len(), 1, "{text}");
    }
}

#[test]
fn without_a_server_or_a_session_it_says_what_to_do() {
    let server = Server::start(Vec::new());
    let home = Home::signed_in(&server);
    let output = home.run(&["ls"]);
    assert_eq!(code(&output), 6, "{}", said(&output));
    std::fs::remove_file(home.path("config.toml")).unwrap();
    let output = home.run(&["ls"]);
    assert_eq!(code(&output), 3);
    assert!(said(&output).contains("holdall login"));
    assert_eq!(code(&home.run(&["ls", "../x"])), 3, "who is not signed in learns that first");
}

#[test]
fn signing_in_keeps_the_session_for_its_owner() {
    let server = Server::start(vec![
        problem(401, "wrong_credentials"),
        sized("201 Created", br#"{"session_id":"1","token":"hs_new","account_id":"2","expires_at":"x"}"#),
        problem(401, "unauthenticated"),
    ]);
    let home = Home::signed_in(&server);
    std::fs::remove_file(home.path("config.toml")).unwrap();
    let sign_in = || {
        let args = ["login", &server.url, "--username", "ada", "--password-stdin"];
        let mut child = home
            .command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"correct horse\r\n").unwrap();
        child.wait_with_output().unwrap()
    };
    let output = sign_in();
    assert_eq!(code(&output), 3, "{}", said(&output));
    assert!(!home.path("config.toml").exists());

    let output = sign_in();
    assert_eq!(code(&output), 0, "{}", said(&output));
    let asked = server.asked();
    assert!(asked[1].line.starts_with("POST /api/v1/sessions "));
    assert_eq!(asked[1].header("authorization"), None);
    assert!(String::from_utf8_lossy(&asked[1].body).contains(r#""password":"correct horse""#));
    let config = std::fs::read_to_string(home.path("config.toml")).unwrap();
    assert!(config.contains("hs_new") && !config.contains("correct horse"));
    for output in [String::from_utf8_lossy(&output.stdout).into_owned(), said(&output)] {
        assert!(!output.contains("hs_new") && !output.contains("correct horse"), "{output}");
    }

    let output = home.run(&["logout"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(!home.path("config.toml").exists());
}
