//! Kills and errors at chosen system calls, by strace.
//!
//! strace counts the calls of each thread, and of each kind, for itself: the first thread to reach a number is meant.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The system calls that change files, and that wake other threads.
const WRITES: &[&str] = &[
    "pwritev",
    "pwrite64",
    "write",
    "fsync",
    "fdatasync",
    "openat",
    "ftruncate",
    "mkdir",
    "unlink",
    "rename",
];

const MISSING: &str =
    "these tests need strace (Debian: apt-get install strace), and leave to trace processes";

/// What strace does to a process.
pub struct Strace {
    args: Vec<String>,
    dir: TempDir,
}

impl Strace {
    /// Takes note of all calls that write, and changes nothing.
    pub fn count() -> Self {
        Self {
            args: vec!["-e".to_owned(), format!("trace={}", WRITES.join(","))],
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Ends the process at the call with that number.
    pub fn kill(call: &str, number: usize) -> Self {
        Self::inject(call, &format!("signal=KILL:when={number}"))
    }

    /// Makes calls (with commas between) go wrong in the way that strace calls so: `error=ENOSPC:when=1..3`.
    pub fn inject(calls: &str, what: &str) -> Self {
        let args =
            ["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={calls}:{what}")];
        Self { args: args.into(), dir: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("calls")
    }

    fn strace(&self) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-o"]).arg(self.log()).args(&self.args);
        command
    }

    /// That program under strace from its start, as a child of this process like any other.
    pub fn command(&self, program: &str) -> Command {
        let version = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
        assert!(version.is_ok_and(|status| status.success()), "{MISSING}");
        let mut command = self.strace();
        command.args(["-D", "--seccomp-bpf", "-qqq", program]);
        command
    }

    /// Takes hold of a running process, until the answer is dropped or the process ends.
    pub fn attach(&self, pid: u32) -> Attached {
        let mut strace = self.strace();
        strace.args(["-p", &pid.to_string()]).stderr(Stdio::piped()).stdin(Stdio::null());
        let mut strace = strace.spawn().expect(MISSING);
        // It says so when it has all threads.
        let mut stderr = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains(" attached"), "{line}: {MISSING}");
        Attached { strace, _stderr: stderr }
    }

    /// How often the busiest thread made each kind of call.
    pub fn counted(&self) -> Vec<(&'static str, usize)> {
        let log = std::fs::read_to_string(self.log()).unwrap();
        let mut counts: HashMap<(&str, &'static str), usize> = HashMap::new();
        for line in log.lines() {
            let (thread, call) = line.split_once(' ').unwrap_or_default();
            let name = call.trim_start().split('(').next().unwrap_or_default();
            if let Some(name) = WRITES.iter().find(|write| **write == name) {
                *counts.entry((thread, name)).or_default() += 1;
            }
        }
        let most = |name: &str| counts.iter().filter(|count| count.0.1 == name).map(|count| *count.1).max();
        WRITES.iter().filter_map(|name| Some((*name, most(name)?))).collect()
    }
}

/// A process in the hands of strace.
pub struct Attached {
    strace: Child,
    /// Open, for strace to write to.
    _stderr: BufReader<std::process::ChildStderr>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Asked to end, it lets go of the process; killed, it might leave it stopped.
        let _ =
            Command::new("kill").args(["-INT", &self.strace.id().to_string()]).stderr(Stdio::null()).status();
        let _ = self.strace.wait();
    }
}
