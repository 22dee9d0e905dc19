//! The command `holdall`, as somebody uses it in a terminal.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use harness::{Command, Content, Persona, Server, both_shapes, eventually, within};

both_shapes!(
    a_session_is_kept_between_commands,
    files_and_folders_travel_both_ways,
    the_tree_is_tended_from_the_command_line,
    what_fails_says_so_by_its_exit_code,
);

/// A home of its own, and what is in it.
struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let command = Command::new("holdall")
            .current_dir(self.folder.path())
            .env("HOLDALL_CONFIG", self.path("config.toml").to_str().unwrap());
        args.iter().fold(command, |command, arg| command.arg(*arg))
    }

    /// Runs a command to its end; gives its exit code and what it printed.
    async fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let (status, printed) = self.command(args).run().await;
        (status.code(), printed)
    }

    /// Runs a command that must succeed.
    async fn good(&self, args: &[&str]) -> String {
        let (code, printed) = self.run(args).await;
        assert_eq!(code, Some(0), "holdall {args:?}: {printed}");
        printed
    }

    async fn sign_in(&self, alice: &Persona) {
        let login = self.command(&["login", &alice.url(), "--username", &alice.username, "--password-stdin"]);
        let (status, printed) = login.input(&format!("{}\n", alice.password)).run().await;
        assert!(status.success(), "{printed}");
    }
}

async fn a_session_is_kept_between_commands(server: &Server) {
    let alice = server.persona("alice").await;
    let terminal = Terminal::new();
    terminal.sign_in(&alice).await;
    let config = terminal.path("config.toml");
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&config).unwrap();
    assert!(!kept.contains(&alice.password));
    alice.upload("file", "x").await;
    assert!(terminal.good(&["ls"]).await.contains("file"));
    terminal.good(&["logout"]).await;
    let (code, printed) = terminal.run(&["ls"]).await;
    assert_eq!(code, Some(3), "{printed}");
    // The session has ended at the server too.
    fs::write(&config, kept).unwrap();
    let refused = async || (terminal.run(&["ls"]).await.0 == Some(3)).then_some(());
    if server.shape().replicas() == 1 {
        assert!(refused().await.is_some());
    } else {
        // For so long the replica that did not end it may remember it.
        within(Duration::from_secs(10), "the session has ended", eventually("it has", refused)).await;
    }
    // The client's own session was another one.
    alice.get("/space").send().await.expect(200);
}

fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(tree(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.push((name, fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

async fn files_and_folders_travel_both_ways(server: &Server) {
    let alice = server.persona("alice").await;
    let terminal = Terminal::new();
    terminal.sign_in(&alice).await;
    let large = Content::new("command line", 20_000_000).bytes();
    fs::create_dir_all(terminal.path("from/Über uns/deep")).unwrap();
    fs::write(terminal.path("from/large.bin"), &large).unwrap();
    fs::write(terminal.path("from/empty"), "").unwrap();
    fs::write(terminal.path("from/Über uns/grüße 🎒.txt"), "Grüße").unwrap();
    fs::write(terminal.path("from/Über uns/deep/100 %.txt"), "percent").unwrap();

    terminal.good(&["put", "from/large.bin", "one/large.bin"]).await;
    assert!(alice.download("one/large.bin").await == large);
    terminal.good(&["put", "-r", "from", "copy/"]).await;
    let listed = terminal.good(&["ls", "copy/from"]).await;
    assert!(listed.contains("large.bin") && listed.contains("Über uns"), "{listed}");
    fs::create_dir(terminal.path("to")).unwrap();
    terminal.good(&["get", "-r", "copy/from", "to/"]).await;
    let (there, back) = (tree(&terminal.path("from")), tree(&terminal.path("to/from")));
    assert!(there == back, "{:?}", back.iter().map(|(name, _)| name).collect::<Vec<_>>());

    let (status, printed) = terminal.command(&["put", "-", "piped.txt"]).input("through a pipe").run().await;
    assert!(status.success(), "{printed}");
    assert!(terminal.good(&["get", "piped.txt", "-"]).await.contains("through a pipe"));
    terminal.good(&["get", "one/large.bin", "back.bin"]).await;
    assert!(fs::read(terminal.path("back.bin")).unwrap() == large);
    assert!(!terminal.path("back.bin.part").exists());
}

async fn the_tree_is_tended_from_the_command_line(server: &Server) {
    let alice = server.persona("alice").await;
    let terminal = Terminal::new();
    terminal.sign_in(&alice).await;
    alice.upload("file.txt", "x".repeat(5000)).await;
    terminal.good(&["mkdir", "a/b"]).await;
    terminal.good(&["mv", "file.txt", "a/b/renamed.txt"]).await;
    assert_eq!(alice.download("a/b/renamed.txt").await.len(), 5000);
    let listed = terminal.good(&["ls", "-l", "a/b"]).await;
    assert!(listed.contains("renamed.txt") && listed.contains("5"), "{listed}");
    let link = terminal.good(&["link", "a/b/renamed.txt", "--expires-in", "1h"]).await;
    let slug = link.split("/s/").nth(1).expect("a link").trim().to_owned();
    let page = alice.anonymous().call_at(http::Method::GET, &format!("/s/{slug}")).send().await.expect(200);
    assert!(page.text().contains("renamed.txt"));
    terminal.good(&["rm", "a"]).await;
    alice.get("/fs/a").send().await.problem(404, "not_found");
    for n in 0..250 {
        alice.mkdir("root", &format!("entry {n:03}")).await;
    }
    let all = terminal.good(&["ls"]).await;
    assert_eq!(all.lines().filter(|line| line.contains("entry ")).count(), 250);
}

async fn what_fails_says_so_by_its_exit_code(server: &Server) {
    let alice = server.persona("alice").await;
    let terminal = Terminal::new();
    assert_eq!(terminal.run(&["ls"]).await.0, Some(3));
    let login = terminal.command(&["login", &alice.url(), "--username", &alice.username, "--password-stdin"]);
    let (status, printed) = login.input("not the password\n").run().await;
    assert_eq!(status.code(), Some(3), "{printed}");
    terminal.sign_in(&alice).await;
    assert_eq!(terminal.run(&["get", "nowhere", "-"]).await.0, Some(4));
    assert_eq!(terminal.run(&["ls", "nowhere"]).await.0, Some(4));
    assert_eq!(terminal.run(&["frobnicate"]).await.0, Some(2));
    alice.upload("file", "x").await;
    assert_eq!(terminal.run(&["ls", "file/below"]).await.0.map(|code| code > 0), Some(true));
    let (code, printed) = terminal.run(&["put", "not-here.txt", "x"]).await;
    assert!(code.is_some_and(|code| code != 0), "{printed}");
    assert!(!printed.contains("panicked") && printed.contains("not-here.txt"), "{printed}");
    // Nobody listens there: the port was free a moment ago, and belongs to nobody.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = terminal.command(&["login", &format!("http://{free}"), "--username", "x", "--password-stdin"]);
    let (status, printed) = away.input("x\n").run().await;
    assert_eq!(status.code(), Some(6), "{printed}");
}
