//! Checks our own SQL statements, read from the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// The files whose `*` was expanded when their view was created.
const VIEWS: [&str; 1] = ["m0008_job_sessions.rs"];

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the contents of a source's string literals, each with the number of its first line.
fn literals(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut line, mut at) = (1, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let rest = &text[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("'\"'") {
            at += 3;
        } else if rest.starts_with('"') {
            let mut end = 1;
            while end < rest.len() && !rest[end..].starts_with('"') {
                let skip = if rest[end..].starts_with('\\') { 1 } else { 0 };
                end += skip;
                end += rest[end..].chars().next().map_or(1, char::len_utf8);
            }
            let literal = rest[1..end.min(rest.len())].to_owned();
            let lines = literal.matches('\n').count();
            found.push((line, literal));
            line += lines;
            at += end + 1;
        } else {
            let c = rest.chars().next().unwrap();
            line += usize::from(c == '\n');
            at += c.len_utf8();
        }
    }
    found
}

/// Returns the text before each `*` that means all columns, or before a reference to a whole row.
fn stars(sql: &str) -> Vec<String> {
    let is_sql = ["SELECT", "RETURNING", "INSERT INTO", " FROM ", "UPDATE "]
        .iter()
        .any(|word| sql.contains(word));
    if !is_sql {
        return Vec::new();
    }
    let mut found: Vec<_> = ["row_to_json(", "hstore("]
        .iter()
        .filter(|call| sql.contains(*call))
        .map(|call| (*call).to_owned())
        .collect();
    for (at, _) in sql.match_indices('*') {
        let before = &sql[..at];
        let word = before.split_whitespace().next_back().unwrap_or_default();
        let of_a_table = before.ends_with('.');
        let of_all = before.ends_with(char::is_whitespace)
            && (["SELECT", "RETURNING", "DISTINCT", "ALL"].contains(&word) || word.ends_with(','));
        if of_a_table || of_all {
            found.push(format!("{word}*"));
        }
    }
    found
}

/// If a statement reads all columns of a table, no column can be added while the service runs: PostgreSQL would refuse
/// the plans that connections have kept.
#[test]
fn no_statement_reads_all_columns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in [
        "app/src",
        "crates",
        "migration/src",
        "entity/src",
        "examples/guestbook/src",
    ] {
        walk(&root.join(folder), &mut files);
    }
    assert!(files.len() > 150, "{}", files.len());
    let mut violations = Vec::new();
    let mut statements = 0;
    for file in files {
        if VIEWS.iter().any(|view| file.ends_with(view)) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("\n#[cfg(test)]").next().unwrap();
        for (line, literal) in literals(text) {
            statements += usize::from(literal.contains("SELECT "));
            for star in stars(&literal) {
                violations.push(format!("{}:{line}: {star}", file.display()));
            }
        }
    }
    assert!(statements > 100, "only {statements} statements were found");
    assert!(violations.is_empty(), "name the columns:\n{}", violations.join("\n"));
}

#[test]
fn stars_are_found_where_they_mean_columns() {
    for sql in [
        "SELECT * FROM events",
        "SELECT e.* FROM events e",
        "DELETE FROM a RETURNING a.*",
        "INSERT INTO a SELECT 1, * FROM b",
        "SELECT row_to_json(t) FROM t",
    ] {
        assert_eq!(stars(sql).len(), 1, "{sql}");
    }
    for sql in [
        "SELECT count(*) FROM a",
        "SELECT 2 * 3 FROM a",
        "user.*",
        "SELECT a *\n2 FROM b",
    ] {
        assert!(stars(sql).is_empty(), "{sql}");
    }
    assert_eq!(
        literals("let a = \"one\\\"\"; // \"no\"\nb(\"two\")"),
        [(1, "one\\\"".to_owned()), (2, "two".to_owned())]
    );
}
