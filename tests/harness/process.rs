//! A running program: what it says, how it is stopped, how much memory it takes.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{binary, eventually, reaper};

/// How to start a program.
#[derive(Clone)]
pub struct Command {
    name: &'static str,
    program: Option<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    folder: Option<PathBuf>,
    input: Option<String>,
}

impl Command {
    /// A program of the workspace.
    pub fn new(name: &'static str) -> Self {
        Self { name, program: None, args: Vec::new(), env: Vec::new(), folder: None, input: None }
    }

    /// Any other program that is installed; `None` when it is not.
    pub fn installed(name: &'static str) -> Option<Self> {
        let folders = std::env::var_os("PATH")?;
        let program =
            std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
        Some(Self { program: Some(program?), ..Self::new(name) })
    }

    /// Runs it in that folder.
    #[must_use]
    pub fn current_dir(self, folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..self }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an argument that is a path.
    #[must_use]
    pub fn path(self, path: &Path) -> Self {
        let path = path.to_str().expect("paths of tests are UTF-8");
        self.arg(path)
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it this on its standard input, which is empty otherwise.
    #[must_use]
    pub fn input(self, text: &str) -> Self {
        Self { input: Some(text.to_owned()), ..self }
    }

    /// Starts it. Everything it writes is kept, see [`Process::log`].
    pub fn start(&self) -> Process {
        let mut command =
            std::process::Command::new(self.program.clone().unwrap_or_else(|| binary(self.name)));
        command
            .args(&self.args)
            // A test is not changed by what happens to be set where it runs.
            .env_clear()
            .envs(
                ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"]
                    .into_iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
            )
            .env("RUST_BACKTRACE", "1")
            .envs(self.env.iter().cloned())
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Interrupting the tests must not reach the server first.
            .process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        reaper::started(child.id());
        if let Some(input) = &self.input {
            let mut pipe = child.stdin.take().expect("it is piped");
            // A program need not read what it is given.
            let _ = pipe.write_all(input.as_bytes());
        }
        let log = Log::default();
        let readers = [
            log.follow(self.name, child.stdout.take().expect("it is piped")),
            log.follow(self.name, child.stderr.take().expect("it is piped")),
        ];
        Process {
            name: self.name,
            pid: child.id(),
            child: Mutex::new(child),
            ended: AtomicBool::new(false),
            log,
            readers,
        }
    }

    /// Runs it to its end.
    pub async fn run(&self) -> (ExitStatus, String) {
        let process = self.start();
        let status = process.exit().await;
        (status, process.log())
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn follow(&self, name: &'static str, source: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let Self(lines) = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                let line = format!("{name}: {}", String::from_utf8_lossy(&line));
                lines.lock().expect("not poisoned").push(line);
            }
        })
    }
}

/// A running program. Killed when dropped.
pub struct Process {
    name: &'static str,
    pid: u32,
    child: Mutex<Child>,
    ended: AtomicBool,
    log: Log,
    readers: [thread::JoinHandle<()>; 2],
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it says where it listens, and gives that address: `http://127.0.0.1:PORT`, or `https://…`.
    pub async fn address(&self) -> String {
        eventually(&format!("{} listens", self.name), async || {
            if let Some(status) = self.try_exit() {
                panic!("{} ended with {status} before it listened:\n{}", self.name, self.log());
            }
            let lines = self.log.0.lock().expect("not poisoned");
            lines.iter().find_map(|line| {
                let (who, address) = line.split_once(" listening on http")?;
                // Operators have an address of their own.
                if who.ends_with(" admin") {
                    return None;
                }
                Some(format!("http{}", address.trim()))
            })
        })
        .await
    }

    /// Everything it has written so far to either stream, in lines.
    pub fn log(&self) -> String {
        self.log_since(0)
    }

    /// How many lines it has written so far.
    pub fn log_len(&self) -> usize {
        self.log.0.lock().expect("not poisoned").len()
    }

    /// What it has written from that line on.
    pub fn log_since(&self, line: usize) -> String {
        let lines = self.log.0.lock().expect("not poisoned");
        lines.get(line..).unwrap_or_default().join("\n")
    }

    /// Sends SIGKILL and waits until it is gone.
    pub async fn kill9(&self) {
        self.signal(Signal::KILL);
        self.exit().await;
    }

    /// Sends SIGTERM.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        if self.try_exit().is_none() {
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).expect("it is a process id");
            kill_process(pid, signal).expect("it is our own child");
        }
    }

    /// Waits for its end, and for the last of its output.
    pub async fn exit(&self) -> ExitStatus {
        let status = eventually(&format!("{} ends", self.name), async || self.try_exit()).await;
        eventually("its output ends", async || self.readers.iter().all(|r| r.is_finished()).then_some(()))
            .await;
        status
    }

    /// How it ended, if it has.
    pub fn try_exit(&self) -> Option<ExitStatus> {
        let status = self.child.lock().expect("not poisoned").try_wait().expect("it is our own child");
        if status.is_some() && !self.ended.swap(true, Ordering::Relaxed) {
            reaper::ended(self.pid);
        }
        status
    }

    /// The most memory it ever held at once, in bytes (`VmHWM`). `None` where there is no `/proc`.
    pub fn peak_memory(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// The memory it holds now, in bytes (`VmRSS`). `None` where there is no `/proc`.
    pub fn memory(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.try_exit().is_some() {
            return;
        }
        let mut child = self.child.lock().expect("not poisoned");
        // It may end in this very moment; either way it is waited for.
        let _ = child.kill();
        let _ = child.wait();
        drop(child);
        if !self.ended.swap(true, Ordering::Relaxed) {
            reaper::ended(self.pid);
        }
    }
}
