//! Lines that can't be stored are refused, and every other line is stored as one line of JSON.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

#[tokio::test]
async fn a_line_that_cannot_be_stored_is_refused_and_nothing_is_appended() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::new(folder.path());
    let node = node(&storage);
    let log = node.open(run(1), 1, None).unwrap().log;
    let list = RawValue::from_string("[1]".to_owned()).unwrap();
    let good = || IncomingLine::new("a", None);
    let with = |change: fn(&mut IncomingLine<'_>)| {
        let mut line = good();
        change(&mut line);
        line
    };
    let long = "x".repeat(101);
    for invalid in [
        IncomingLine::new("", None),
        IncomingLine::new("a\",\"sequence\":9,\"b\":\"", None),
        IncomingLine::new("ü", None),
        IncomingLine::new(long.as_str(), None),
        IncomingLine::new("a", Some(&list)),
        IncomingLine::new(COMPLETED, None),
        with(|line| line.source = Some("a\n".into())),
        with(|line| line.created_at = Some("\"".into())),
    ] {
        let refused = node.append(&log, &[good(), invalid], "api", None).await;
        assert!(
            matches!(refused, Err(LogError::InvalidLine { index: 1, .. })),
            "{refused:?}"
        );
    }
    let refused = node.append(&log, &[good()], "a\\", None).await;
    assert_eq!(refused, Err(LogError::InvalidName { name: "source" }));
    let quoted = Writer {
        id: "\"".to_owned(),
        ..writer(1, 1)
    };
    let refused = node.append(&log, &[good()], "api", Some(&quoted)).await;
    assert_eq!(refused, Err(LogError::InvalidName { name: "writer's id" }));
    let refused = node
        .append_own(&log, IncomingLine::new(COMPLETED, None), "service")
        .await;
    assert!(
        matches!(refused, Err(LogError::InvalidLine { index: 0, .. })),
        "{refused:?}"
    );
    let refused = node.append_last(&log, good(), "service").await;
    assert!(
        matches!(refused, Err(LogError::InvalidLine { index: 0, .. })),
        "{refused:?}"
    );
    assert_eq!(log.durable().borrow().sequence, 0);
    assert_eq!(append(&node, &log, &["a"], None).await.unwrap().last_sequence, 1);
}

proptest! {
    #[test]
    fn an_accepted_line_is_one_line_of_json_with_its_number(
        kind in "[ -~ü]{0,110}",
        source in prop::option::of("[ -~\n]{0,110}"),
        created_at in prop::option::of("[ -~]{0,70}"),
        payload in "\\{( |\n|\r|\"a\":\"\\\\n\")?\\}",
        sequence in any::<u64>(),
    ) {
        let payload = RawValue::from_string(payload).unwrap();
        let mut incoming = IncomingLine::new(kind.as_str(), Some(&payload));
        incoming.source = source.map(Into::into);
        incoming.created_at = created_at.map(Into::into);
        if let Ok(line) = incoming.to_stored(run(1), sequence, "api") {
            prop_assert_eq!(memchr::memchr_iter(b'\n', &line).count(), 1);
            prop_assert_eq!(line.last(), Some(&b'\n'));
            prop_assert_eq!(sequence_of(&line), Some(sequence));
            let stored = StoredLine::parse(&line).unwrap();
            prop_assert_eq!((&*stored.kind, stored.sequence), (&*kind, sequence));
        }
    }
}
