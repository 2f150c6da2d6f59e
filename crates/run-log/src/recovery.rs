//! Recovers the lines of a dead node: writes the records of its write-ahead log into the run files again.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use uuid::Uuid;

use super::LogError;
use super::file::lock_file;
use super::layout::{Layout, RunKey, make_folder};
use super::open::replay_records;
use super::wal::{Record, WalFolder};

/// The write-ahead log of a dead node.
#[derive(Debug)]
pub(super) struct AbandonedWal {
    folder: WalFolder,
    /// The runs whose lines may not be in their own files.
    pub(super) runs: Vec<RunKey>,
}

/// Returns the nodes with a write-ahead log in this storage, dead or alive.
///
/// # Errors
/// An error of the file system.
pub(super) fn nodes(layout: &Layout) -> io::Result<Vec<Uuid>> {
    let entries = match fs::read_dir(layout.wals()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
    Ok(names.filter_map(|name| Uuid::try_parse(&name).ok()).collect())
}

/// Opens the write-ahead log of a node, if the node is dead and its write-ahead log is in this storage.
///
/// # Errors
/// An error of the file system.
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
    /// Writes the records into the files of the runs for which `still_owned` is true, and removes the write-ahead log.
    ///
    /// # Errors
    /// An error of the file system; [`LogError::Held`] while another process has such a run's file locked. Then the
    /// write-ahead log is kept.
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
