//! The number of descriptors that logs use, and that closing and reopening files loses no lines.

use std::time::Duration;

use tokio::task::JoinSet;

use super::*;

/// Returns the number of this process's descriptors for logs below a folder.
fn descriptors(folder: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter(|target| target.starts_with(folder) && target.ends_with("events.ndjson"))
        .count()
}

async fn eventually(folder: &Path, expected: usize) {
    let deadline = machine_time::instant() + Duration::from_secs(60);
    while descriptors(folder) != expected {
        assert!(
            machine_time::instant() < deadline,
            "{} descriptors instead of {expected}",
            descriptors(folder)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn node_with(storage: &Storage, max: usize, idle_after: Duration) -> WriterNode {
    let open_files = OpenFilesLimits { max, idle_after };
    WriterNode::start(storage, OPTIONS.open_files(open_files), || true).unwrap()
}

const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_log_has_one_descriptor_and_a_finished_one_has_none() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node_with(&storage, 100, NEVER);
    let mut logs = Vec::new();
    for number in 0..10 {
        let log = node.open(run(number), 1, None).unwrap().log;
        append(&node, &log, &["a"], None).await.unwrap();
        logs.push(log);
    }
    assert_eq!(descriptors(folder.path()), 10);

    // A finished log is not kept open until the write-ahead log's segment is full.
    let node = node_with(&storage, 100, Duration::from_millis(20));
    let finished = node.open(run(100), 1, None).unwrap().log;
    append(&node, &finished, &["a"], None).await.unwrap();
    finished.sync().unwrap();
    finished.complete();
    drop(finished);
    eventually(folder.path(), 10).await;
}

#[tokio::test]
async fn more_logs_than_may_be_open_are_written_in_turn_and_lose_nothing() {
    const LOGS: u128 = 40;
    const ROUNDS: usize = 5;
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node_with(&storage, 4, NEVER);
    let logs: Vec<_> = (0..LOGS)
        .map(|number| node.open(run(number), 1, None).unwrap().log)
        .collect();
    for round in 0..ROUNDS {
        for log in &logs {
            append(&node, log, &[&format!("line {round}")], None).await.unwrap();
        }
        let open = descriptors(folder.path());
        assert!(open <= 4, "{open} descriptors");
    }
    // Also all logs at the same time.
    let node = Arc::new(node);
    let mut all = JoinSet::new();
    for log in &logs {
        let (node, log) = (node.clone(), log.clone());
        all.spawn(async move { append(&node, &log, &["together"], None).await });
    }
    for appended in all.join_all().await {
        assert_eq!(appended.unwrap().last_sequence, ROUNDS as u64 + 1);
    }
    assert!(descriptors(folder.path()) <= 4);

    // After a power cut, another process finds all lines.
    let after = TempDir::new().unwrap();
    copy(folder.path(), after.path());
    let left = Storage::new(after.path());
    let runs: Vec<_> = (0..LOGS).map(run).collect();
    left.recover(node.id(), &runs).unwrap();
    for run in runs {
        let messages: Vec<_> = read(&left, run, u64::MAX).into_iter().map(|(_, words)| words).collect();
        let mut expected: Vec<_> = (0..ROUNDS).map(|round| format!("line {round}")).collect();
        expected.push("together".to_owned());
        assert_eq!(messages, expected);
    }
}

#[tokio::test]
async fn an_idle_log_is_closed_and_its_next_line_opens_it() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node_with(&storage, 100, Duration::from_millis(20));
    let log = node.open(run(1), 1, None).unwrap().log;
    append(&node, &log, &["a"], Some(&writer(1, 1))).await.unwrap();
    eventually(folder.path(), 0).await;
    // A reader opens its own descriptor. The end of a run syncs the file although it is closed.
    assert_eq!(read(&storage, run(1), u64::MAX).len(), 1);
    log.sync().unwrap();
    let again = append(&node, &log, &["a", "b"], Some(&writer(1, 1))).await.unwrap();
    assert_eq!((again.duplicates, again.appended, again.last_sequence), (1, 1, 2));
    eventually(folder.path(), 0).await;
    node.shut_down();
    let opened = self::node(&storage).open(run(1), 2, None).unwrap();
    assert_eq!((opened.cut_bytes, opened.log.durable().borrow().sequence), (0, 2));
}

#[tokio::test]
async fn a_log_that_another_process_has_changed_is_not_written() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node_with(&storage, 100, Duration::from_millis(20));
    let changed = node.open(run(1), 1, None).unwrap().log;
    let locked = node.open(run(2), 1, None).unwrap().log;
    for log in [&changed, &locked] {
        append(&node, log, &["a"], None).await.unwrap();
    }
    eventually(folder.path(), 0).await;
    let path = |number| Layout::new(folder.path()).plain(run(number));
    let mut bytes = fs::read(path(1)).unwrap();
    bytes.extend_from_slice(b"of another process\n");
    fs::write(path(1), &bytes).unwrap();
    let lock = lock_file(&path(2)).unwrap();
    for log in [&changed, &locked] {
        let refused = append(&node, log, &["b"], None).await;
        assert!(matches!(refused, Err(LogError::Unwritable(_))), "{refused:?}");
        assert!(log.has_failed());
    }
    assert_eq!(fs::read(path(1)).unwrap(), bytes);
    assert_eq!(read(&storage, run(2), u64::MAX).len(), 1);
    drop(lock);
    // Other logs are not affected, and the log that was only locked can be opened again.
    let again = node.open(run(2), 1, None).unwrap().log;
    assert_eq!(append(&node, &again, &["b"], None).await.unwrap().last_sequence, 2);
}
