//! Taking over what a dead process left: its write-ahead log goes into the runs' files once more.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use uuid::Uuid;

use super::LogError;
use super::file::lock_file;
use super::layout::{Layout, RunKey, make_folder};
use super::open::replay_records;
use super::wal::{Record, WalFolder};

/// What a dead process has left.
#[derive(Debug)]
pub(super) struct AbandonedWal {
    folder: WalFolder,
    /// Runs with lines that may not be in their own files.
    pub(super) runs: Vec<RunKey>,
}

/// Processes with a write-ahead log here, dead or alive.
///
/// # Errors
/// What the file system says.
pub(super) fn nodes(layout: &Layout) -> io::Result<Vec<Uuid>> {
    let entries = match fs::read_dir(layout.wals()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
    Ok(names.filter_map(|name| Uuid::try_parse(&name).ok()).collect())
}

/// What this process has left, if it is dead and left something here.
///
/// # Errors
/// What the file system says.
pub(super) fn abandoned_wal(layout: &Layout, node: Uuid) -> io::Result<Option<AbandonedWal>> {
    let Some(folder) = WalFolder::open_abandoned(layout.wal(node))? else {
        return Ok(None);
    };
    let mut runs: Vec<RunKey> = Vec::new();
    for segment in folder.segments()? {
        runs.extend(segment.records().iter().map(|record| record.run));
    }
    runs.sort_unstable();
    runs.dedup();
    Ok(Some(AbandonedWal { folder, runs }))
}

impl AbandonedWal {
    /// Writes it into the files of the runs that are `still_owned`, and removes it.
    ///
    /// # Errors
    /// What the file system says, and [`LogError::Held`] while somebody has not let such a run go: then it is kept.
    pub(super) fn recover(self, layout: &Layout, still_owned: impl Fn(RunKey) -> bool) -> Result<(), LogError> {
        let failed = |error: io::Error| LogError::unwritable(&error);
        let segments = self.folder.segments().map_err(failed)?;
        let mut by_run: BTreeMap<RunKey, Vec<(u64, &[u8])>> = BTreeMap::new();
        for segment in &segments {
            for Record { run, offset, bytes, .. } in segment.records() {
                by_run.entry(run).or_default().push((offset, bytes));
            }
        }
        for (run, records) in by_run {
            let path = layout.plain(run);
            if !still_owned(run) {
                continue;
            }
            if let Some(folder) = path.parent() {
                make_folder(folder).map_err(failed)?;
            }
            let file = lock_file(&path)?;
            replay_records(&file, &records).map_err(failed)?;
        }
        self.folder.remove().map_err(failed)
    }
}
