//! Which bytes of the runs' own files were made safe: no test can cut the power, so these ask what was synced.

use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::*;

/// The length of each file when it was synced last.
static SYNCED: Mutex<BTreeMap<PathBuf, u64>> = Mutex::new(BTreeMap::new());

/// Notes that a file is about to be synced.
pub(in super::super) fn note(file: &File) {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let length = file.metadata().unwrap().len();
    SYNCED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(path, length);
}

/// How many bytes of a run's own file are safe, and how many it has.
fn safe(folder: &Path, run: RunKey) -> (u64, u64) {
    let path = Layout::new(folder).plain(run);
    let synced = SYNCED.lock().unwrap_or_else(PoisonError::into_inner);
    let safe = synced.get(&path.canonicalize().unwrap()).copied();
    (safe.unwrap_or(0), fs::metadata(path).unwrap().len())
}

fn assert_safe(folder: &Path, run: RunKey) {
    let (safe, length) = safe(folder, run);
    assert_eq!(safe, length, "{run:?}");
}

#[tokio::test]
async fn who_leaves_has_made_every_file_safe_also_those_that_were_closed() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let open_files = OpenFilesLimits {
        max: 2,
        idle_after: Duration::from_millis(20),
    };
    let node = WriterNode::start(&storage, WriterNodeOptions { open_files, ..OPTIONS }, Arc::new(|| true)).unwrap();
    for number in 1..=4 {
        let log = node.open(run(number), 1, None).unwrap().log;
        append(&node, &log, &["a"], None).await.unwrap();
    }
    // One that is closed for being idle.
    let log = node.open(run(5), 1, None).unwrap().log;
    append(&node, &log, &["a"], None).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while log.file().is_some() {
        assert!(std::time::Instant::now() < deadline, "it stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // And one that is still open.
    let log = node.open(run(6), 1, None).unwrap().log;
    append(&node, &log, &["a"], None).await.unwrap();
    node.shut_down();
    (1..=6).for_each(|number| assert_safe(folder.path(), run(number)));
}

#[tokio::test]
async fn a_segment_is_written_again_once_what_it_has_is_safe_in_the_files() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    let long = "x".repeat(30 << 10);
    for _ in 0..100 {
        append(&node, &log, &[&long], None).await.unwrap();
        let (safe, length) = safe(folder.path(), run(1));
        let unsafe_bytes = length - safe;
        assert!(
            unsafe_bytes <= 4 * OPTIONS.segment_bytes,
            "four segments don't hold {unsafe_bytes} bytes"
        );
    }
    node.shut_down();
}

#[tokio::test]
async fn what_is_taken_over_and_what_is_opened_is_safe() {
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
    assert_safe(folder.path(), run(1));
    // One whose process was not known any more.
    let node = self::node(&storage);
    let opened = node.open(run(2), 2, None).unwrap();
    assert_safe(folder.path(), run(2));
    // The end of a run is told once its log is safe.
    append(&node, &opened.log, &["c"], None).await.unwrap();
    assert_eq!(
        opened.log.sync().unwrap(),
        fs::metadata(Layout::new(folder.path()).plain(run(2))).unwrap().len()
    );
    assert_safe(folder.path(), run(2));
}

#[tokio::test]
async fn what_was_written_and_not_acknowledged_is_cut_off_when_it_is_taken_over() {
    let living = TempDir::new().unwrap();
    let storage = Storage::new(living.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    append(&node, &log, &["a"], None).await.unwrap();
    let folder = TempDir::new().unwrap();
    copy(living.path(), folder.path());
    let path = Layout::new(folder.path()).plain(run(1));
    // The write-ahead log never had it.
    let line = fs::read(&path).unwrap();
    fs::write(&path, [line.as_slice(), &line].concat()).unwrap();
    node.shut_down();
    let storage = Storage::new(folder.path());
    storage.recover(node.id(), &[run(1)]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), line);
}
