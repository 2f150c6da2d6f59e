//! Reads `postmaster.pid` and checks whether it is still valid.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::layout::Layout;

/// The lines of `postmaster.pid` that matter. The server writes the later ones while it starts.
#[derive(Debug)]
pub(super) struct PidFile {
    pub pid: u32,
    pub port: u16,
    pub socket_dir: Option<PathBuf>,
}

impl PidFile {
    /// Reads the file. Returns `None` if there is none, or if a crash left it without a pid.
    pub fn read(cluster: &Path) -> Option<Self> {
        let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        // The next lines are the data directory, the start time, the port and the first socket folder.
        let port = lines
            .nth(2)
            .and_then(|line| line.trim().parse().ok())
            .unwrap_or(super::PORT);
        let socket_dir = lines
            .next()
            .map(|line| PathBuf::from(line.trim()))
            .filter(|dir| dir.is_absolute());
        Some(Self { pid, port, socket_dir })
    }
}

/// Returns whether process `pid` is a server on `cluster`, judged by its arguments: `postgres -D <cluster> …`.
pub(super) fn is_running_on(pid: u32, cluster: &Path) -> bool {
    let Ok(raw) = i32::try_from(pid) else { return false };
    if !exists(raw) {
        return false;
    }
    let proc = Path::new("/proc").join(pid.to_string());
    if proc.exists() {
        // Empty for a zombie. A dead server stays a zombie where no process reaps it, as in a container whose first
        // process isn't an init.
        let arguments = fs::read(proc.join("cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0).map(OsStr::from_bytes);
        return arguments.any(|argument| argument == "-D") && arguments.next() == Some(cluster.as_os_str());
    }
    // macOS and the BSDs.
    let listed = std::process::Command::new("ps")
        .args(["-ww", "-o", "args=", "-p", &pid.to_string()])
        .output();
    listed.is_ok_and(|output| {
        let arguments = String::from_utf8_lossy(&output.stdout);
        arguments.contains(&format!("-D {} ", cluster.display()))
    })
}

fn exists(pid: i32) -> bool {
    pid > 0 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Removes the files of a server that is gone, where PostgreSQL would not remove them itself.
///
/// PostgreSQL removes a `postmaster.pid` whose process is gone. It refuses to start if the pid is in use, although it
/// may belong to another program by then, or to a zombie. Without the file PostgreSQL still detects children that
/// outlived their postmaster: it finds their shared memory by the inode of the data directory.
pub(super) fn remove_stale_files(file: &PidFile, layout: &Layout) {
    tracing::info!(
        pid = file.pid,
        "the last PostgreSQL did not shut down cleanly; starting one, which will recover"
    );
    let socket = format!(".s.PGSQL.{}", super::PORT);
    let stale = [
        layout.cluster.join("postmaster.pid"),
        layout.socket_dir.join(format!("{socket}.lock")),
        layout.socket_dir.join(&socket),
    ];
    // If a file can't be removed, PostgreSQL names it in its error.
    for path in stale {
        let _ = fs::remove_file(path);
    }
}
