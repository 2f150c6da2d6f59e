//! After a power cut, the content of a file depends on the disk. These tests try many cases.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a power cut leaves of the runs' own files, recovery restores the lines of the write-ahead log once and
    /// in order.
    #[test]
    fn after_a_power_cut_every_acknowledged_line_is_there(
        steps in prop::collection::vec((0..4_u128, 1..40_usize, 0..3_000_usize), 1..60),
        losses in prop::collection::vec(0..=255_u8, 8),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let folder = TempDir::new().unwrap();
        let storage = Storage::new(folder.path());
        let node = node(&storage);
        let mut expected: BTreeMap<u128, Vec<String>> = BTreeMap::new();
        runtime.block_on(async {
            let mut logs = BTreeMap::new();
            for (number, lines, length) in &steps {
                let log = logs.entry(*number).or_insert_with(|| node.open(run(*number), 1, None).unwrap().log);
                let known = expected.entry(*number).or_default();
                let messages: Vec<_> = (0..*lines).map(|at| format!("{} {}", known.len() + at, "y".repeat(*length))).collect();
                let borrowed: Vec<_> = messages.iter().map(String::as_str).collect();
                append(&node, log, &borrowed, None).await.unwrap();
                known.extend(messages);
            }
        });

        // Copy the files as they are now, and then damage the copies.
        let after = TempDir::new().unwrap();
        copy(folder.path(), after.path());
        let (storage, layout) = (Storage::new(after.path()), Layout::new(after.path()));
        for segment in WalFolder::open_abandoned(layout.wal(node.id())).unwrap().unwrap().segments().unwrap() {
            for (at, record) in segment.records().iter().enumerate() {
                let path = layout.plain(record.run);
                let Ok(file) = File::options().write(true).open(&path) else { continue };
                match losses[at % losses.len()] {
                    0..=60 => drop(file.write_at(&vec![0; record.bytes.len()], record.offset)),
                    61..=90 => drop(file.set_len(record.offset)),
                    91..=120 => drop(file.write_at(b"{\"torn", record.offset + record.bytes.len() as u64)),
                    121..=130 => drop(fs::remove_file(&path)),
                    _ => {}
                }
            }
        }
        // A lost file can be restored only if the write-ahead log has all its lines.
        let whole: Vec<_> = expected.keys().map(|number| run(*number)).collect();
        let survives = |run: RunKey| layout.plain(run).exists() || {
            let left = WalFolder::open_abandoned(layout.wal(node.id())).unwrap().unwrap();
            left.segments().unwrap().iter().flat_map(|segment| segment.records().iter().map(|r| (r.run, r.offset)).collect::<Vec<_>>())
                .any(|place| place == (run, 0))
        };
        let survivors: Vec<_> = whole.into_iter().filter(|run| survives(*run)).collect();
        prop_assert!(storage.unrecovered_runs(node.id()).unwrap().is_some());
        storage.recover(node.id(), &survivors).unwrap();
        prop_assert!(storage.unrecovered_runs(node.id()).unwrap().is_none());
        for run in survivors {
            let messages: Vec<_> = read(&storage, run, u64::MAX).into_iter().map(|(_, message)| message).collect();
            prop_assert_eq!(&messages, &expected[&run.run_id.as_u128()]);
        }
        node.shut_down();
    }
}
