//! Where things are under the storage's root.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A run, by its team and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunKey {
    /// The team.
    pub team_id: Uuid,
    /// The run.
    pub run_id: Uuid,
}

/// The folders and files of a storage.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The storage in this folder, which need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A run's log as it is written, relative to the root.
    pub fn events_path(run: RunKey) -> String {
        format!("workspaces/{}/runs/{}/logs/events.ndjson", run.team_id, run.run_id)
    }

    /// A run's log as it is written.
    pub fn plain(&self, run: RunKey) -> PathBuf {
        self.root.join(Self::events_path(run))
    }

    /// A run's log once it is sealed.
    pub fn sealed(&self, run: RunKey) -> PathBuf {
        self.plain(run).with_extension("ndjson.zst")
    }

    /// The folder of a process's write-ahead log.
    pub(super) fn wal(&self, node: Uuid) -> PathBuf {
        self.wals().join(node.to_string())
    }

    /// Where the processes have theirs.
    pub(super) fn wals(&self) -> PathBuf {
        self.root.join("wal")
    }
}

/// Makes a folder with all above it, each safe on disk once this returns.
///
/// # Errors
/// What the file system says.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    make_folder(parent)?;
    // What programs say is nobody else's.
    match DirBuilder::new().mode(0o750).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(parent)
}

/// Makes what was created, renamed or removed in a folder safe on disk.
///
/// # Errors
/// What the file system says.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)?.sync_all()
}
