//! Which bytes of the runs' own files are durable, and which entries of folders. A test can't cut the power, so these
//! tests check what was synced.

use std::ffi::OsString;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::super::sealed::{SealedLogs, seal};
use super::super::source::ReadSeek;
use super::*;

/// The length of each file when it was last synced.
static SYNCED: Mutex<BTreeMap<PathBuf, u64>> = Mutex::new(BTreeMap::new());

/// Records that a file is about to be synced.
pub(in super::super) fn note(file: &File) {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let length = file.metadata().unwrap().len();
    SYNCED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(path, length);
}

/// The entries of each folder when it was last synced.
static SYNCED_FOLDERS: Mutex<BTreeMap<PathBuf, BTreeSet<OsString>>> = Mutex::new(BTreeMap::new());

fn entries(folder: &Path) -> BTreeSet<OsString> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect()
}

/// Records that a folder is about to be synced.
pub(in super::super) fn note_folder(folder: &Path) {
    SYNCED_FOLDERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(folder.canonicalize().unwrap(), entries(folder));
}

/// Checks that a folder has the same entries after a power cut.
fn assert_entries_durable(folder: &Path) {
    let synced = SYNCED_FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let durable = synced.get(&folder.canonicalize().unwrap());
    assert_eq!(durable, Some(&entries(folder)), "{}", folder.display());
}

/// Returns the number of durable bytes of a run's own file, and its length.
fn durable(folder: &Path, run: RunKey) -> (u64, u64) {
    durable_bytes(&Layout::new(folder).plain(run))
}

/// Returns the number of durable bytes of a file, and its length.
fn durable_bytes(path: &Path) -> (u64, u64) {
    let synced = SYNCED.lock().unwrap_or_else(PoisonError::into_inner);
    let durable_bytes = synced.get(&path.canonicalize().unwrap()).copied();
    (durable_bytes.unwrap_or(0), fs::metadata(path).unwrap().len())
}

fn assert_durable(folder: &Path, run: RunKey) {
    let (durable_bytes, length) = durable(folder, run);
    assert_eq!(durable_bytes, length, "{run:?}");
}

#[tokio::test]
async fn a_node_that_shuts_down_has_synced_every_file_even_closed_ones() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let open_files = OpenFilesLimits {
        max: 2,
        idle_after: Duration::from_millis(20),
    };
    let node = WriterNode::start(&storage, OPTIONS.open_files(open_files), || true).unwrap();
    for number in 1..=4 {
        let log = node.open(run(number), 1, None).unwrap().log;
        append(&node, &log, &["a"], None).await.unwrap();
    }
    // A log whose file is closed because it is idle.
    let log = node.open(run(5), 1, None).unwrap().log;
    append(&node, &log, &["a"], None).await.unwrap();
    let deadline = machine_time::instant() + Duration::from_secs(30);
    while log.file().is_some() {
        assert!(machine_time::instant() < deadline, "it stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A log whose file is still open.
    let log = node.open(run(6), 1, None).unwrap().log;
    append(&node, &log, &["a"], None).await.unwrap();
    node.shut_down();
    (1..=6).for_each(|number| assert_durable(folder.path(), run(number)));
}

#[tokio::test]
async fn a_segment_is_reused_only_after_its_content_is_durable_in_the_run_files() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    let long = "x".repeat(30 << 10);
    for _ in 0..100 {
        append(&node, &log, &[&long], None).await.unwrap();
        let (durable_bytes, length) = durable(folder.path(), run(1));
        let unsafe_bytes = length - durable_bytes;
        assert!(
            unsafe_bytes <= 4 * OPTIONS.segment_bytes,
            "four segments don't hold {unsafe_bytes} bytes"
        );
    }
    node.shut_down();
}

#[tokio::test]
async fn a_recovered_file_and_an_opened_file_are_synced() {
    let living = TempDir::new().unwrap();
    let storage = Storage::new(living.path());
    let node = node(&storage);
    for number in 1..=2 {
        let log = node.open(run(number), 1, None).unwrap().log;
        append(&node, &log, &["a", "b"], None).await.unwrap();
    }
    let folder = TempDir::new().unwrap();
    copy(living.path(), folder.path());
    node.shut_down();
    let storage = Storage::new(folder.path());
    storage.recover(node.id(), &[run(1)]).unwrap();
    assert_durable(folder.path(), run(1));
    // A run that is opened without recovery.
    let node = self::node(&storage);
    let opened = node.open(run(2), 2, None).unwrap();
    assert_durable(folder.path(), run(2));
    // A run is ended only after its log is durable.
    append(&node, &opened.log, &["c"], None).await.unwrap();
    assert_eq!(
        opened.log.sync().unwrap().get(),
        fs::metadata(Layout::new(folder.path()).plain(run(2))).unwrap().len()
    );
    assert_durable(folder.path(), run(2));
}

#[tokio::test]
async fn recovery_truncates_lines_that_were_written_and_not_acknowledged() {
    let living = TempDir::new().unwrap();
    let storage = Storage::new(living.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    append(&node, &log, &["a"], None).await.unwrap();
    let folder = TempDir::new().unwrap();
    copy(living.path(), folder.path());
    let path = Layout::new(folder.path()).plain(run(1));
    // The write-ahead log never had the second copy of the line.
    let line = fs::read(&path).unwrap();
    fs::write(&path, [line.as_slice(), &line].concat()).unwrap();
    node.shut_down();
    let storage = Storage::new(folder.path());
    storage.recover(node.id(), &[run(1)]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), line);
}

/// Otherwise a power cut could remove the file whose lines were acknowledged, once the write-ahead log has been reused.
#[tokio::test]
async fn a_new_log_is_in_its_folder_durably_before_it_has_a_line() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path().join("storage"));
    let node = node(&storage);
    for number in 1..=2 {
        node.open(run(number), 1, None).unwrap();
        let path = Layout::new(folder.path().join("storage")).plain(run(number));
        let parents = path
            .ancestors()
            .skip(1)
            .take_while(|parent| parent.starts_with(folder.path()));
        parents.for_each(assert_entries_durable);
    }
    node.shut_down();
}

/// A store of sealed logs that checks what it is given.
#[derive(Debug)]
struct DurableOnly(Layout);

impl SealedLogs for DurableOnly {
    fn put(&self, run: RunKey, file: &Path) -> io::Result<()> {
        let (durable_bytes, length) = durable_bytes(file);
        assert!(
            length > 0 && durable_bytes == length,
            "{durable_bytes} of {length} bytes"
        );
        self.0.put(run, file)?;
        assert!(self.0.plain(run).exists(), "the plain log is removed last");
        self.0.sealed(run).parent().into_iter().for_each(assert_entries_durable);
        Ok(())
    }

    fn open(&self, run: RunKey) -> io::Result<Box<dyn ReadSeek>> {
        self.0.open(run)
    }

    fn delete(&self, run: RunKey) -> io::Result<()> {
        self.0.delete(run)
    }
}

#[tokio::test]
async fn a_sealed_log_is_durable_before_the_plain_one_is_removed() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    append(&node, &log, &["a", "b"], None).await.unwrap();
    node.shut_down();
    let layout = Layout::new(folder.path());
    seal(&layout, &DurableOnly(layout.clone()), run(1)).unwrap();
    assert!(!layout.plain(run(1)).exists());
    layout
        .sealed(run(1))
        .parent()
        .into_iter()
        .for_each(assert_entries_durable);
}
