//! Recovery from a damaged write-ahead log reads the groups up to the first one with a wrong checksum.

use std::ops::Range;
use std::path::PathBuf;

use super::super::wal::Group;
use super::*;

/// The size of a group's magic, generation, length and checksum.
const HEAD_BYTES: usize = 20;

/// A storage whose process died after it had acknowledged three groups of one line each.
struct Died {
    folder: TempDir,
    node_id: Uuid,
    /// The content of the run's own file at that time.
    written: Vec<u8>,
}

impl Died {
    async fn after_three_groups() -> Self {
        let living = TempDir::new().unwrap();
        let storage = Storage::new(living.path());
        let node = node(&storage);
        let log = node.open(run(1), 1, None).unwrap().log;
        for message in ["a", "b", "c"] {
            append(&node, &log, &[message], None).await.unwrap();
        }
        let folder = TempDir::new().unwrap();
        copy(living.path(), folder.path());
        let written = fs::read(Layout::new(folder.path()).plain(run(1))).unwrap();
        node.shut_down();
        Self {
            folder,
            node_id: node.id(),
            written,
        }
    }

    fn segment(&self) -> PathBuf {
        let folder = Layout::new(self.folder.path()).wal(self.node_id);
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        // The first group is in the segment that was filled first.
        let mut segments: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|it| it == "wal"))
            .collect();
        segments.sort();
        segments.swap_remove(0)
    }

    fn groups(&self) -> Vec<Range<usize>> {
        let bytes = fs::read(self.segment()).unwrap();
        let mut at = 0;
        (0..3)
            .map(|_| {
                let length = u32::from_le_bytes(bytes[at + 12..at + 16].try_into().unwrap());
                let group = at..at + HEAD_BYTES + length as usize;
                at = group.end;
                group
            })
            .collect()
    }

    fn generation(&self) -> u64 {
        let bytes = fs::read(self.segment()).unwrap();
        u64::from_le_bytes(bytes[4..12].try_into().unwrap())
    }

    /// Returns the run's messages after a recovery in which its own file is empty and the segment is damaged by
    /// `damage`.
    fn recovered(&self, damage: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
        let after = TempDir::new().unwrap();
        copy(self.folder.path(), after.path());
        let storage = Storage::new(after.path());
        let own = Layout::new(after.path()).plain(run(1));
        File::options().write(true).open(own).unwrap().set_len(0).unwrap();
        let segment = after
            .path()
            .join(self.segment().strip_prefix(self.folder.path()).unwrap());
        let mut bytes = fs::read(&segment).unwrap();
        damage(&mut bytes);
        fs::write(&segment, bytes).unwrap();
        storage.recover(self.node_id, &[run(1)]).unwrap();
        let read = read(&storage, run(1), u64::MAX);
        read.into_iter().map(|(_, message)| message).collect()
    }
}

#[tokio::test]
async fn a_damaged_group_and_all_after_it_are_left_out() {
    let died = Died::after_three_groups().await;
    assert_eq!(died.recovered(|_| {}), ["a", "b", "c"]);
    let groups = died.groups();
    let last = groups[2].clone();
    for at in last.clone() {
        assert_eq!(died.recovered(|bytes| bytes[at] ^= 1), ["a", "b"], "byte {at} flipped");
    }
    for cut in [last.start, last.start + 1, last.start + HEAD_BYTES, last.end - 1] {
        assert_eq!(died.recovered(|bytes| bytes.truncate(cut)), ["a", "b"], "cut at {cut}");
        let zeroed = died.recovered(|bytes| bytes[cut..last.end].fill(0));
        assert_eq!(zeroed, ["a", "b"], "zeros from {cut}");
    }
    let middle = groups[1].clone();
    let flipped = died.recovered(|bytes| bytes[middle.end - 1] ^= 1);
    assert_eq!(flipped, ["a"], "groups after a damaged group were never durable");
}

#[tokio::test]
async fn groups_of_an_older_generation_in_the_segment_are_ignored() {
    let died = Died::after_three_groups().await;
    let last = died.groups()[2].clone();
    let old = |generation: u64| {
        let line = died.written.split_inclusive(|byte| *byte == b'\n').next().unwrap();
        let mut group = Group::default();
        group.clear();
        group.add(run(1), 1, died.written.len() as u64, line);
        group.sealed(generation).to_vec()
    };
    let place = |bytes: &mut Vec<u8>, at: usize, group: &[u8]| bytes[at..at + group.len()].copy_from_slice(group);

    let same = old(died.generation());
    let read = died.recovered(|bytes| place(bytes, last.end, &same));
    assert_eq!(
        read,
        ["a", "b", "c", "a"],
        "a group of the segment's own generation is read"
    );
    let older = old(died.generation() - 1);
    assert_eq!(died.recovered(|bytes| place(bytes, last.end, &older)), ["a", "b", "c"]);
    assert_eq!(died.recovered(|bytes| place(bytes, last.start, &older)), ["a", "b"]);
}

#[tokio::test]
async fn the_file_of_a_run_that_another_node_owns_is_not_changed() {
    let died = Died::after_three_groups().await;
    let storage = Storage::new(died.folder.path());
    let own = Layout::new(died.folder.path()).plain(run(1));
    // The other process continued after the second line.
    let second = memchr::memchr_iter(b'\n', &died.written).nth(1).unwrap() + 1;
    let mut moved = died.written[..second].to_vec();
    moved.extend_from_slice(b"{\"sequence\":3,\"payload\":{\"message\":\"elsewhere\"}}\n");
    fs::write(&own, &moved).unwrap();
    storage.recover(died.node_id, &[]).unwrap();
    assert_eq!(fs::read(&own).unwrap(), moved);
    assert_eq!(
        storage.unrecovered_runs(died.node_id).unwrap(),
        None,
        "nothing is left to recover"
    );
}

#[tokio::test]
async fn a_process_without_its_lease_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let leased = Arc::new(AtomicBool::new(true));
    let may_write = leased.clone();
    let node = WriterNode::start(&storage, OPTIONS, move || may_write.load(Ordering::SeqCst)).unwrap();
    let log = node.open(run(1), 1, None).unwrap().log;
    append(&node, &log, &["a"], None).await.unwrap();
    let path = Layout::new(folder.path()).plain(run(1));
    let before = fs::read(&path).unwrap();
    leased.store(false, Ordering::SeqCst);
    let refused = append(&node, &log, &["b"], None).await;
    assert!(matches!(refused, Err(LogError::Unwritable(_))), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(log.durable().borrow().sequence, 1);
}
