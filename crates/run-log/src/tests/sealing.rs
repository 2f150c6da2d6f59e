//! Sealing to a store that fails.

use super::super::sealed::{SealedLogs, seal};
use super::super::source::ReadSeek;
use super::*;

/// A store of sealed logs that is unavailable.
#[derive(Debug)]
struct Unavailable;

impl SealedLogs for Unavailable {
    fn put(&self, _: RunKey, _: &Path) -> io::Result<()> {
        Err(io::Error::other("the store is unavailable"))
    }

    fn open(&self, _: RunKey) -> io::Result<Box<dyn ReadSeek>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn delete(&self, _: RunKey) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_that_could_not_be_sealed_stays_and_can_be_deleted() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    append(&node, &log, &["a"], None).await.unwrap();
    node.shut_down();
    let layout = Layout::new(folder.path());
    seal(&layout, &Unavailable, run(1)).unwrap_err();
    assert_eq!(read(&storage, run(1), u64::MAX), [(1, "a".to_owned())]);
    storage.delete(run(1)).unwrap();
    assert!(!layout.plain(run(1)).exists() && storage.open(run(1)).unwrap().is_none());
}
