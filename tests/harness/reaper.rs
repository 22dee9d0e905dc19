//! Leaves nothing behind, however the test process ends.
//!
//! A `static` is never dropped, and nothing is when a test run is killed. So one small shell outlives the test process:
//! it learns of every server and every temporary folder through a pipe, and cleans up when the pipe closes.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock},
};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=' '
folders=
while read -r what which; do
    case $what in
        started) pids="$pids$which " ;;
        ended) pids="${pids%% $which *} ${pids#* $which }" ;;
        folder) folders="$folders$which
" ;;
    esac
done
[ "$pids" = ' ' ] || kill -9 $pids 2>/dev/null
# What was killed may still be writing for a moment.
printf %s "$folders" | while read -r folder; do
    for _ in 1 2 3 4 5; do rm -rf "$folder" 2>/dev/null && break; sleep 0.1; done
done
"#;

fn tell(line: &str) {
    static PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| {
        // Not waited for: it ends after this process has.
        #[expect(clippy::zombie_processes, reason = "it outlives this process")]
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("/bin/sh runs");
        Mutex::new(shell.stdin.take().expect("its input is a pipe"))
    });
    writeln!(pipe.lock().expect("not poisoned"), "{line}").expect("the reaper listens");
}

/// Kill this process when the test process ends.
pub(crate) fn started(pid: u32) {
    tell(&format!("started {pid}"));
}

/// It has ended and was waited for: its number may belong to another process by now.
pub(crate) fn ended(pid: u32) {
    tell(&format!("ended {pid}"));
}

/// Delete this folder when the test process ends.
pub(crate) fn folder(path: &Path) {
    tell(&format!("folder {}", path.display()));
}
