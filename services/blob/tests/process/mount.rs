//! File systems of our own: small ones in memory, and ones on a device that can lose its power.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Set where file systems can be mounted: a test that cannot then fails, rather than to say so and pass.
const REQUIRED: &str = "HOLDALL_TEST_MOUNTS";

/// A mounted file system. Unmounted when dropped; nothing may have files open on it by then.
pub struct Mount {
    dir: TempDir,
    source: String,
    kind: &'static str,
    options: String,
}

impl Mount {
    /// A file system in memory of so many MiB, and room for so many files.
    pub fn memory(mib: usize, files: usize) -> Option<Self> {
        let options = format!("size={mib}m,nr_inodes={files}");
        Self::new(tempfile::tempdir().unwrap(), "tmpfs".to_owned(), "tmpfs", options)
    }

    /// An ext4 of so many MiB on a device of its own.
    pub fn ext4(mib: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        // As a disk in a server has it, however small this one is.
        run("mkfs.ext4", &["-q", "-b", "4096", "-J", "size=16", path(&image)])
            .expect("e2fsprogs are installed");
        Self::new(dir, path(&image).to_owned(), "ext4", "loop,errors=remount-ro".to_owned())
    }

    fn new(dir: TempDir, source: String, kind: &'static str, options: String) -> Option<Self> {
        let mount = Self { dir, source, kind, options };
        std::fs::create_dir(mount.path()).unwrap();
        match mount.mount() {
            Ok(()) => Some(mount),
            Err(problem) => {
                assert!(
                    std::env::var_os(REQUIRED).is_none(),
                    "{REQUIRED} is set, and this cannot be: {problem}"
                );
                skip(&problem);
                None
            }
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-t", self.kind, "-o", &self.options, &self.source, path(&self.path())])
    }

    fn unmount(&self) -> Result<(), String> {
        run("umount", &[path(&self.path())])
    }

    /// Mounts it anew with other options, in use as it is.
    pub fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}"), path(&self.path())]).unwrap();
    }

    /// From now on nothing reaches the device any more: what it has not got yet is lost.
    pub fn lose_power(&self) {
        run("xfs_io", &["-x", "-c", "shutdown", path(&self.path())]).expect("xfsprogs are installed");
    }

    /// The power is back. Nothing may have files open.
    pub fn restart(&self) {
        self.unmount().unwrap();
        self.mount().unwrap();
    }

    /// Makes the kernel find the file system damaged, upon which nothing more may be written to it.
    pub fn fail(&self) {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let at = path(&self.path()).to_owned();
        let device = mounts.lines().find_map(|line| {
            let (device, rest) = line.split_once(' ')?;
            rest.starts_with(&format!("{at} ")).then(|| device.trim_start_matches("/dev/"))
        });
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", device.unwrap());
        std::fs::write(trigger, "a test").unwrap();
    }

    /// Repairs it, as at the start of a machine.
    pub fn repair(&self) {
        self.unmount().unwrap();
        // Exits with 1 when it has repaired something.
        let status =
            Command::new("e2fsck").args(["-p", &self.source]).stdout(Stdio::null()).status().unwrap();
        assert!(status.code() <= Some(1), "{status}");
        self.mount().unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(problem) = self.unmount()
            && !std::thread::panicking()
        {
            panic!("a file system is left behind: {problem}");
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn skip(problem: &str) {
    eprintln!("NOT RUN: a file system has to be mounted, which needs root and loop devices: {problem}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
