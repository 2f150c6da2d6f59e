//! These tests use real files. A disk that fails on purpose simulates disk errors.

mod damage;
mod descriptors;
mod lines;
mod power_cut;
mod sealing;
pub(super) mod syncs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::committer::Committer;
use super::file::{LogFile, lock_file};
use super::layout::Layout;
use super::line::Envelope;
use super::open::recover_file;
use super::wal::{Disk, WalFolder};
use super::*;

const OPTIONS: WriterNodeOptions = WriterNodeOptions {
    max_log_bytes: 64 << 20,
    segment_bytes: 256 << 10,
    open_files: OpenFilesLimits::new(3, Duration::from_secs(10)),
};

fn run(number: u128) -> RunKey {
    RunKey {
        team_id: Uuid::from_u128(1),
        run_id: Uuid::from_u128(number),
    }
}

fn node(storage: &Storage) -> WriterNode {
    WriterNode::start(storage, OPTIONS, || true).unwrap()
}

fn line_text(message: &str) -> String {
    serde_json::json!({"type": "console.line", "payload": {"message": message}}).to_string()
}

async fn append(
    node: &WriterNode,
    log: &Arc<Log>,
    messages: &[&str],
    writer: Option<&Writer>,
) -> Result<Appended, LogError> {
    let texts: Vec<_> = messages.iter().map(|message| line_text(message)).collect();
    let lines: Vec<IncomingLine<'_>> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    node.append(log, &lines, "api", writer).await
}

fn writer(epoch: u64, seq: u64) -> Writer {
    Writer {
        id: "exec".to_owned(),
        epoch,
        seq,
    }
}

/// Returns the messages with their numbers, from the first `bytes` bytes of a log.
fn read(storage: &Storage, run: RunKey, bytes: u64) -> Vec<(u64, String)> {
    let mut source = storage.open(run).unwrap().unwrap();
    let mut lines = LineReader::new(0, bytes.min(source.length()));
    let mut read = Vec::new();
    while let Some(line) = lines.next(&mut source).unwrap() {
        if let Some(seen) = StoredLine::parse(line) {
            let payload: Value = serde_json::from_str(seen.payload.get()).unwrap();
            read.push((
                seen.sequence,
                payload["message"].as_str().unwrap_or_default().to_owned(),
            ));
        }
    }
    read
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[tokio::test]
async fn lines_are_numbered_in_the_order_of_the_file() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = Arc::new(node(&storage));
    let log = node.open(run(1), 1, None).unwrap().log;
    let senders = (0..20).map(|sender| {
        let (node, log) = (node.clone(), log.clone());
        tokio::spawn(async move {
            let mut last = 0;
            for line in 0..20 {
                let appended = append(&node, &log, &[&format!("{sender} {line}")], None).await.unwrap();
                assert!(appended.first_sequence > last, "{appended:?}");
                last = appended.last_sequence;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let seen = read(&storage, run(1), u64::MAX);
    assert_eq!(seen.len(), 400);
    assert!(
        seen.iter()
            .zip(1..)
            .all(|((sequence, _), expected)| *sequence == expected)
    );
    assert_eq!(log.durable().borrow().sequence, 400);
    node.shut_down();
    assert_eq!(
        fs::read_dir(folder.path().join("wal")).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn lines_that_a_writer_sends_twice_are_stored_once() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    let first = append(&node, &log, &["a", "b"], Some(&writer(1, 1))).await.unwrap();
    assert_eq!((first.appended, first.duplicates), (2, 0));
    // All lines again, and then one of them again with the next one.
    let again = append(&node, &log, &["a", "b"], Some(&writer(1, 1))).await.unwrap();
    assert_eq!((again.appended, again.duplicates, again.last_sequence), (0, 2, 2));
    let more = append(&node, &log, &["b", "c"], Some(&writer(1, 2))).await.unwrap();
    assert_eq!((more.appended, more.duplicates, more.first_sequence), (1, 1, 3));
    let gap = append(&node, &log, &["e"], Some(&writer(1, 5))).await;
    assert_eq!(gap, Err(LogError::SequenceGap { expected: 4, got: 5 }));
    // The numbers are in the log, so they are known when the log is opened again.
    node.shut_down();
    drop(log);
    let node = self::node(&storage);
    let log = node.open(run(1), 2, None).unwrap().log;
    let again = append(&node, &log, &["c"], Some(&writer(1, 3))).await.unwrap();
    assert_eq!((again.appended, again.duplicates), (0, 1));
    // The writer starts again, and the epoch before is refused.
    assert_eq!(
        append(&node, &log, &["d"], Some(&writer(2, 1))).await.unwrap().appended,
        1
    );
    assert_eq!(
        append(&node, &log, &["x"], Some(&writer(1, 4))).await,
        Err(LogError::Fenced { epoch: 2 })
    );
    let messages: Vec<_> = read(&storage, run(1), u64::MAX)
        .into_iter()
        .map(|(_, message)| message)
        .collect();
    assert_eq!(messages, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_log_has_a_maximum_number_of_writers_that_number_their_lines() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    let called = |number: usize| Writer {
        id: number.to_string(),
        ..writer(1, 1)
    };
    for number in 0..64 {
        append(&node, &log, &["a"], Some(&called(number))).await.unwrap();
    }
    let refused = append(&node, &log, &["a"], Some(&called(64))).await;
    assert_eq!(refused, Err(LogError::TooManyWriters { limit: 64 }));
    // Known writers can continue, and further writers can send lines without numbers.
    let known = Writer { seq: 2, ..called(63) };
    append(&node, &log, &["b"], Some(&known)).await.unwrap();
    assert_eq!(append(&node, &log, &["c"], None).await.unwrap().last_sequence, 66);
}

#[tokio::test]
async fn a_log_has_one_writer_node_and_a_size_limit() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = WriterNode::start(&storage, OPTIONS.max_log_bytes(1_000), || true).unwrap();
    let log = node.open(run(1), 1, None).unwrap().log;
    let other_node = self::node(&storage);
    assert_eq!(other_node.open(run(1), 2, None).unwrap_err(), LogError::Held);

    append(&node, &log, &["a", "b"], None).await.unwrap();
    let full = append(&node, &log, &["c", &"x".repeat(500)], None).await;
    assert_eq!(full, Err(LogError::Full { limit: 1_000 }));
    assert_eq!(append(&node, &log, &["c"], None).await.unwrap().last_sequence, 3);
    // The last line can be written although the log is full.
    let end = node.append_last(&log, IncomingLine::new(COMPLETED, None), "service");
    let end = end.await.unwrap();
    assert_eq!(end.last_sequence, 4);
    assert_eq!(append(&node, &log, &["d"], None).await, Err(LogError::Ended));
    log.complete();
    let opened = other_node.open(run(1), 2, None).unwrap();
    assert!(opened.completed);
}

#[tokio::test]
async fn a_torn_tail_is_truncated_and_a_damaged_line_affects_no_other_line() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    append(&node, &log, &["a", "b", "c"], None).await.unwrap();
    node.shut_down();
    drop(log);
    let path = Layout::new(folder.path()).plain(run(1));
    let complete = fs::read(&path).unwrap();
    for (torn, cut) in [
        (&b"{\"type\":\"console.line\",\"ev"[..], 26),
        (b"\0\0\0\0\n\0\0", 7),
        (b"", 0),
    ] {
        let mut bytes = complete.clone();
        // In the middle of the second line.
        bytes[complete.len() / 2] = b'"';
        bytes.extend_from_slice(torn);
        fs::write(&path, bytes).unwrap();
        let node = self::node(&storage);
        let opened = node.open(run(1), 2, None).unwrap();
        assert_eq!((opened.cut_bytes, opened.unreadable), (cut, 1));
        let length = fs::metadata(&path).unwrap().len();
        assert_eq!(
            length,
            complete.len() as u64,
            "the file ends with its last complete line"
        );
        let appended = append(&node, &opened.log, &["d"], None).await.unwrap();
        assert_eq!(appended.first_sequence, 4, "the numbers continue");
        let messages: Vec<_> = read(&storage, run(1), u64::MAX)
            .into_iter()
            .map(|(_, message)| message)
            .collect();
        assert_eq!(messages, ["a", "c", "d"]);
        node.shut_down();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shutdown_during_writes_loses_no_acknowledged_line() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    for number in 0..60 {
        let node = Arc::new(node(&storage));
        let log = node.open(run(number), 1, None).unwrap().log;
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let (node, log) = (node.clone(), log.clone());
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    loop {
                        let message = format!("{sender} {}", acknowledged.len());
                        match append(&node, &log, &[&message], None).await {
                            Ok(_) => acknowledged.push(message),
                            Err(_) => return acknowledged,
                        }
                    }
                })
            })
            .collect();
        let mut durable = log.durable();
        durable.wait_for(|durable| durable.sequence > 40).await.unwrap();
        tokio::task::spawn_blocking(move || node.shut_down()).await.unwrap();
        // This works although the old log is still referenced.
        self::node(&storage).open(run(number), 2, None).unwrap();
        let mut acknowledged = BTreeSet::new();
        for sender in senders {
            acknowledged.extend(sender.await.unwrap());
        }
        let there: BTreeSet<_> = read(&storage, run(number), u64::MAX)
            .into_iter()
            .map(|(_, message)| message)
            .collect();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}

/// A disk whose fsync fails while the flag is set.
struct Failing(File, Arc<AtomicBool>);

impl Disk for Failing {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(&self.0, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) {
            return Err(io::Error::other("a disk that fails"));
        }
        self.0.sync_data()
    }
}

#[tokio::test]
async fn a_failed_fsync_publishes_nothing_and_recovery_restores_all_acknowledged_lines() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let layout = Layout::new(folder.path());
    let failing = Arc::new(AtomicBool::new(false));
    let (node_id, path) = (Uuid::now_v7(), layout.plain(run(1)));
    let flag = failing.clone();
    let committer = Committer::start(
        WalFolder::create(layout.wal(node_id)).unwrap(),
        OPTIONS.segment_bytes,
        Box::new(move |folder, number, bytes| {
            Ok(Box::new(Failing(folder.segment(number, bytes)?, flag.clone())) as Box<dyn Disk>)
        }),
        Box::new(|| true),
        OPTIONS.open_files,
    )
    .unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = lock_file(&path).unwrap();
    let (found, ..) = recover_file(&file).unwrap();
    let log = Log::new(
        run(1),
        1,
        Envelope::new(run(1), None),
        OPTIONS.max_log_bytes,
        LogFile::new(path.clone(), file),
        found,
    );
    let text = line_text("a");
    let lines = [serde_json::from_str(&text).unwrap()];
    log.append(&committer, &lines, "api", Some(&writer(1, 1)))
        .await
        .unwrap();

    failing.store(true, Ordering::Relaxed);
    let refused = log.append(&committer, &lines, "api", Some(&writer(1, 2))).await;
    assert!(matches!(refused, Err(LogError::Unwritable(_))), "{refused:?}");
    let durable = log.durable().borrow().clone();
    assert_eq!(durable.sequence, 1);
    assert!(matches!(durable.end, Some(LogEnd::Failed(_))));
    // Writing is not attempted again.
    failing.store(false, Ordering::Relaxed);
    let refused = log.append(&committer, &lines, "api", Some(&writer(1, 2))).await;
    assert!(matches!(refused, Err(LogError::Unwritable(_))) && committer.is_broken());

    // Wait for the thread, as a node that shuts down does.
    committer.stop();
    drop(log);
    assert_eq!(storage.unrecovered_runs(node_id).unwrap(), Some(vec![run(1)]));
    storage.recover(node_id, &[run(1)]).unwrap();
    let node = self::node(&storage);
    let opened = node.open(run(1), 2, None).unwrap();
    let again = append(&node, &opened.log, &["b"], Some(&writer(1, 2))).await.unwrap();
    assert_eq!(again.duplicates + again.appended, 1);
    assert_eq!(read(&storage, run(1), u64::MAX).len(), 2);
}
