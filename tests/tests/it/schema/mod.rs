//! Structural tests: they enforce the laws also for future tables and payloads.
//!
//! Golden files are in `tests/golden`, and next to the self-check, which reads one. After an intended change run
//! `DAYBOOK_BLESS=1 cargo test -p daybook-tests schema`, and read the diff.

mod catalogue;
mod migrations;
mod online;
mod payloads;
mod sources;

use std::path::Path;

/// Compares with a golden file, or rewrites it when `DAYBOOK_BLESS=1`.
pub fn assert_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("DAYBOOK_BLESS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if golden == found {
        return;
    }
    let (golden, found): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), found.lines().collect());
    let gone = golden
        .iter()
        .filter(|line| !found.contains(line))
        .map(|line| format!("- {line}"));
    let new = found
        .iter()
        .filter(|line| !golden.contains(line))
        .map(|line| format!("+ {line}"));
    let difference: Vec<_> = gone.chain(new).collect();
    panic!(
        "tests/golden/{name} differs; if that is intended, DAYBOOK_BLESS=1\n{}",
        difference.join("\n")
    );
}
