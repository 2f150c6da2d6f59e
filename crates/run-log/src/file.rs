//! A run's own file while it is written. It needs one descriptor, and none while the log is idle.
//!
//! Only the committer thread reopens the file and closes it. So nothing is written between a sync and the close after
//! it.
//!
//! **Invariant:** a closed file has no lock and needs none. Another process opens a log only with the run's lease. If
//! it shares this storage, it gets that lease only when the lock of this process's write-ahead log is free. The
//! committer thread holds that lock as long as it runs. When the file is reopened, its lock is taken again, and the
//! file is not written if its length is not the length that this process has written.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LogError;

/// Opens a log's file for writing and locks it.
///
/// # Errors
/// [`LogError::Held`] when another process has the lock; [`LogError::Unwritable`].
pub(super) fn lock_file(path: &Path) -> Result<File, LogError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o640)
        .open(path)
        .map_err(|error| LogError::unwritable(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Held),
        Err(TryLockError::Error(error)) => Err(LogError::unwritable(&error)),
    }
}

/// Syncs a run's own file, plain or sealed, to disk, with its length. Every sync of such a file calls this function.
///
/// # Errors
/// An error of the file system.
pub(super) fn sync_file(file: &File) -> io::Result<()> {
    #[cfg(test)]
    super::tests::syncs::note(file);
    file.sync_data()
}

/// A run's own file while it is written.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    state: Mutex<FileState>,
}

#[derive(Debug)]
enum FileState {
    /// The file is open and locked.
    Open(Arc<File>),
    /// The file is closed until the next line.
    Idle,
    /// This process writes no more lines, and other processes may open the file.
    Released,
}

impl LogFile {
    /// Wraps a file that [`lock_file`] has opened at `path`.
    pub(super) fn new(path: PathBuf, locked: File) -> Self {
        Self {
            path,
            state: Mutex::new(FileState::Open(Arc::new(locked))),
        }
    }

    /// Returns the file, if it is open.
    pub(super) fn opened(&self) -> Option<Arc<File>> {
        match &*self.state() {
            FileState::Open(file) => Some(file.clone()),
            FileState::Idle | FileState::Released => None,
        }
    }

    /// Returns the file, and reopens it if it was closed. `length` is the length that this process has written. Only
    /// the committer thread may call this.
    ///
    /// # Errors
    /// An error of the file system; an error if another process has locked or changed the file.
    pub(super) fn open(&self, length: u64) -> io::Result<Arc<File>> {
        let mut state = self.state();
        match &*state {
            FileState::Open(file) => return Ok(file.clone()),
            FileState::Released => return Err(io::Error::other("the log was released")),
            FileState::Idle => {}
        }
        let file = File::options().read(true).write(true).open(&self.path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another process has locked the log")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let found = file.metadata()?.len();
        if found != length {
            return Err(io::Error::other(format!(
                "the log has {found} bytes instead of the {length} that were written: another process has changed it"
            )));
        }
        let file = Arc::new(file);
        *state = FileState::Open(file.clone());
        Ok(file)
    }

    /// Closes the file until the next line, and returns it. The caller must sync it. Returns `None` if it is not open.
    /// Only the committer thread may call this.
    pub(super) fn close(&self) -> Option<Arc<File>> {
        let mut state = self.state();
        let FileState::Open(file) = &*state else { return None };
        let file = file.clone();
        // Another thread may keep the descriptor until the file is synced, so the file is unlocked explicitly.
        unlock(&file, &self.path);
        *state = FileState::Idle;
        Some(file)
    }

    /// Unlocks the file for other processes. This process writes no more lines to it.
    pub(super) fn release(&self) {
        if let FileState::Open(file) = std::mem::replace(&mut *self.state(), FileState::Released) {
            unlock(&file, &self.path);
        }
    }

    /// Syncs the file, whether it is open or not.
    ///
    /// # Errors
    /// An error of the file system.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.opened() {
            Some(file) => sync_file(&file),
            None => sync_file(&File::open(&self.path)?),
        }
    }

    /// Truncates the file to `length`. A closed file is not changed, because another process may have opened it. Only
    /// the committer thread may call this.
    ///
    /// # Errors
    /// An error of the file system.
    pub(super) fn truncate(&self, length: u64) -> io::Result<()> {
        self.opened().map_or(Ok(()), |file| file.set_len(length))
    }

    fn state(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unlock(file: &File, path: &Path) {
    if let Err(error) = file.unlock() {
        tracing::warn!(
            "run logs: could not unlock {}, so other processes can't write this log: {error}",
            path.display()
        );
    }
}
