//! The paths under the storage's root.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Identifies a run's log by its team and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunKey {
    /// The team.
    pub team_id: Uuid,
    /// The run.
    pub run_id: Uuid,
}

/// The folders and files of a storage.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Uses this folder, which does not have to exist yet.
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the path of a run's plain log, relative to the root.
    pub(super) fn events_path(run: RunKey) -> String {
        format!("workspaces/{}/runs/{}/logs/events.ndjson", run.team_id, run.run_id)
    }

    /// Returns the path of a run's plain log.
    pub(super) fn plain(&self, run: RunKey) -> PathBuf {
        self.root.join(Self::events_path(run))
    }

    /// Returns the path of a run's sealed log.
    pub(super) fn sealed(&self, run: RunKey) -> PathBuf {
        self.plain(run).with_extension("ndjson.zst")
    }

    /// Returns the folder of a node's write-ahead log.
    pub(super) fn wal(&self, node: Uuid) -> PathBuf {
        self.wals().join(node.to_string())
    }

    /// Returns the folder of all write-ahead logs.
    pub(super) fn wals(&self) -> PathBuf {
        self.root.join("wal")
    }
}

/// Creates a folder and its parents, and syncs each of them to disk.
///
/// # Errors
/// An error of the file system.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    make_folder(parent)?;
    // The output of programs is private, so other users get no access.
    match DirBuilder::new().mode(0o750).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(parent)
}

/// Syncs a folder, so that files that were created, renamed or removed in it are durable.
///
/// # Errors
/// An error of the file system.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    #[cfg(test)]
    super::tests::syncs::note_folder(folder);
    File::open(folder)?.sync_all()
}
