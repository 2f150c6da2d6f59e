//! What `postmaster.pid` says, and whether it is still true.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::place::Place;

/// The lines of `postmaster.pid` that matter. The server writes the later ones while it starts.
#[derive(Debug)]
pub(super) struct PidFile {
    pub pid: u32,
    pub port: u16,
    pub socket_dir: Option<PathBuf>,
}

impl PidFile {
    /// `None` when there is none, or one that names no process, which is the same: a crash cut it short.
    pub fn read(cluster: &Path) -> Option<Self> {
        let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        // Then the data directory, the start time, the port and the first socket folder.
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

/// Whether process `pid` is a server on `cluster`, by its arguments: `postgres -D <cluster> …`.
pub(super) fn is_running_on(pid: u32, cluster: &Path) -> bool {
    let Ok(raw) = i32::try_from(pid) else { return false };
    if !exists(raw) {
        return false;
    }
    let proc = Path::new("/proc").join(pid.to_string());
    if proc.exists() {
        // Empty for a zombie, which is what a dead server stays where nobody reaps it, as in a container
        // whose first process isn't an init.
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

/// Clears the way for a new server where PostgreSQL would not do it itself.
///
/// It removes a `postmaster.pid` whose process is gone. It gives up when the number is alive, though it may be
/// another program's by now, or a zombie's. Removing the file does not take away its guard against children
/// that outlived their postmaster: it finds their shared memory by the data directory's inode.
pub(super) fn remove_stale_files(file: &PidFile, place: &Place) {
    tracing::info!(
        pid = file.pid,
        "the last PostgreSQL did not shut down; starting one that recovers"
    );
    let socket = format!(".s.PGSQL.{}", super::PORT);
    let stale = [
        place.cluster.join("postmaster.pid"),
        place.socket_dir.join(format!("{socket}.lock")),
        place.socket_dir.join(&socket),
    ];
    // What can't be removed is named by PostgreSQL when it stumbles over it.
    for path in stale {
        let _ = fs::remove_file(path);
    }
}
