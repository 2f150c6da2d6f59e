//! Sealing, and reading a sealed log.

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

#[tokio::test]
async fn a_sealed_log_reads_as_before_from_any_line() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, Some("nightly")).unwrap().log;
    for part in 0..40 {
        let messages: Vec<_> = (0..100).map(|line| "x".repeat((line * 7 + part * 31) % 900)).collect();
        let messages: Vec<_> = messages.iter().map(String::as_str).collect();
        append(&node, &log, &messages, None).await.unwrap();
    }
    node.shut_down();
    drop(log);
    let layout = Layout::new(folder.path());
    // Damage a line in the middle, where the search for numbers begins.
    let mut bytes = fs::read(layout.plain(run(1))).unwrap();
    let middle = bytes.len() / 2;
    let begin = middle + memchr::memchr(b'\n', &bytes[middle..]).unwrap() + 1;
    bytes[begin..begin + 40].fill(b'#');
    fs::write(layout.plain(run(1)), &bytes).unwrap();
    let before = read(&storage, run(1), u64::MAX);
    assert_eq!(before.len(), 3_999);

    let mut open = storage.open(run(1)).unwrap().unwrap();
    let sealed = storage.seal(run(1)).unwrap().unwrap();
    assert_eq!(sealed.plain_bytes, bytes.len() as u64);
    assert!(sealed.sealed_bytes < sealed.plain_bytes / 5);
    assert!(!layout.plain(run(1)).exists());
    assert_eq!(storage.seal(run(1)).unwrap(), None);
    assert_eq!(read(&storage, run(1), u64::MAX), before);

    // A reader with the plain file open can continue, and finds the same offsets.
    let mut closed = storage.open(run(1)).unwrap().unwrap();
    let length = closed.length();
    let places: Vec<u64> = std::iter::once(0)
        .chain(memchr::memchr_iter(b'\n', &bytes).map(|at| at as u64 + 1))
        .collect();
    for sequence in (1..=4_000).step_by(13).chain([3_999, 4_000, 4_001, 9_000]) {
        let found = offset_of(&mut closed, sequence, length).unwrap();
        assert_eq!(found, offset_of(&mut open, sequence, length).unwrap(), "{sequence}");
        let at = usize::try_from(sequence).unwrap() - 1;
        let expected = places.get(at).copied().unwrap_or(length);
        // The damaged line has no number, so the next line is the first that matches.
        let expected = if expected == begin as u64 {
            places[at + 1]
        } else {
            expected
        };
        assert_eq!(found, expected, "{sequence}");
    }
    storage.delete(run(1)).unwrap();
    assert!(storage.open(run(1)).unwrap().is_none());
}

/// A search that looks into the middle of a long line finds no line that begins there.
#[tokio::test]
async fn a_line_is_found_among_lines_of_any_length() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    let (short, long) = ("x".repeat(100), "y".repeat(300 << 10));
    for (lines, last) in [(200, &long), (0, &long), (3, &short), (200, &long)] {
        let mut messages = vec![short.as_str(); lines];
        messages.push(last);
        append(&node, &log, &messages, None).await.unwrap();
    }
    node.shut_down();
    drop(log);
    let bytes = fs::read(Layout::new(folder.path()).plain(run(1))).unwrap();
    let mut source = storage.open(run(1)).unwrap().unwrap();
    let length = source.length();
    let mut begin = 0;
    for (sequence, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        assert_eq!(offset_of(&mut source, sequence, length).unwrap(), begin, "{sequence}");
        begin += line.len() as u64;
    }
    assert_eq!(offset_of(&mut source, 10_000, length).unwrap(), begin);
}
