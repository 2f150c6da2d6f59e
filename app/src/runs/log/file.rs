//! A run's own file while it is written: one descriptor, and none while the log is idle.
//!
//! The committing thread alone opens the file again and closes it, so that nothing is written between a sync and the
//! close that follows it.
//!
//! **Invariant:** a closed file has no lock of its own, and needs none. Another process opens a log only with the run's
//! lease, and it gets the lease of a process that shares this folder only when the lock of that process's write-ahead log
//! is free. The committing thread holds that lock for as long as it runs. When the file is opened again its lock is taken
//! again, and a file whose length is not the one that this process has written is not written to.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LogError;

/// Opens a log's file for its one writer and locks it.
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

/// Makes what was written to a run's own file safe on disk, with the file's length. Every sync of such a file is this one.
///
/// # Errors
/// What the file system says.
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
    /// Open and locked.
    Open(Arc<File>),
    /// Closed until the next line.
    Idle,
    /// Nothing more is written here: others may have the file.
    Released,
}

impl LogFile {
    /// The file at `path`, as [`lock_file`] has opened it.
    pub(super) fn new(path: PathBuf, locked: File) -> Self {
        Self {
            path,
            state: Mutex::new(FileState::Open(Arc::new(locked))),
        }
    }

    /// The file, if it is open.
    pub(super) fn opened(&self) -> Option<Arc<File>> {
        match &*self.state() {
            FileState::Open(file) => Some(file.clone()),
            FileState::Idle | FileState::Released => None,
        }
    }

    /// The file, opened again if it was closed. `length` is what this process has written. For the committing thread alone.
    ///
    /// # Errors
    /// What the file system says; a file that another process has locked or changed.
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
                "the log has {found} bytes, and {length} were written: another process has changed it"
            )));
        }
        let file = Arc::new(file);
        *state = FileState::Open(file.clone());
        Ok(file)
    }

    /// Closes the file until the next line, and returns it: the caller syncs it. None if it is not open. For the committing
    /// thread alone.
    pub(super) fn close(&self) -> Option<Arc<File>> {
        let mut state = self.state();
        let FileState::Open(file) = &*state else { return None };
        let file = file.clone();
        // Others may hold the descriptor for a while: until it is synced.
        unlock(&file);
        *state = FileState::Idle;
        Some(file)
    }

    /// Lets others have the file: nothing more is written here.
    pub(super) fn release(&self) {
        if let FileState::Open(file) = std::mem::replace(&mut *self.state(), FileState::Released) {
            unlock(&file);
        }
    }

    /// Makes what was written safe, whether the file is open or not.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.opened() {
            Some(file) => sync_file(&file),
            None => sync_file(&File::open(&self.path)?),
        }
    }

    /// Cuts off what comes after `length`, unless the file is closed: then it may be another process's by now. For the
    /// committing thread alone.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn truncate(&self, length: u64) -> io::Result<()> {
        self.opened().map_or(Ok(()), |file| file.set_len(length))
    }

    fn state(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unlock(file: &File) {
    if let Err(error) = file.unlock() {
        tracing::warn!("run logs: a log's file could not be unlocked: {error}");
    }
}
