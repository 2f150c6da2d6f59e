//! Reads the files of `app/src` and of the crates, without comments, the contents of strings and unit tests.

use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct Source {
    /// The path below `app/src`, such as `threads/store/posting.rs`; for a crate, such as `crates/wide-events/src/sink.rs`.
    pub(super) path: String,
    /// The code without the unit tests at its end, without comments and without the contents of strings.
    pub(super) code: String,
    pub(super) lines: usize,
}

impl Source {
    /// Returns the module of the file: a folder of `app/src`, or a file there.
    pub(super) fn module(&self) -> &str {
        let top = self.path.split('/').next().unwrap_or_default();
        top.strip_suffix(".rs").unwrap_or(top)
    }

    /// Returns the paths from the crate's root that the code uses, `crate::http::Team` as `http::Team`.
    pub(super) fn named(&self) -> Vec<String> {
        let mut named = Vec::new();
        let code = self.code.replace("daybook::", "crate::").replace("pub(in crate::", "");
        for (at, _) in code.match_indices("crate::") {
            let paths = expanded(&code[at + "crate::".len()..]).into_iter();
            named.extend(paths.map(|(path, _)| path));
        }
        named
    }
}

/// Splits `a::{b, c::d as e}` into `a::b` and `a::c::d`, each with its new name if it has one, and ignores the text after
/// the path.
pub(super) fn expanded(text: &str) -> Vec<(String, Option<String>)> {
    let (path, rest) = text.split_at(path_length(text));
    if !(path.is_empty() || path.ends_with("::")) || !rest.starts_with('{') {
        let name = rest.trim_start().strip_prefix("as ").map(str::trim_start);
        let name = name.map(|name| name[..path_length(name)].to_owned());
        // A glob import.
        let path = match rest.starts_with('*') {
            true => format!("{path}*"),
            false => path.trim_end_matches(':').to_owned(),
        };
        return vec![(path, name)];
    }
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        match (c, depth) {
            ('{', 1) => {}
            (',', 1) => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    let insides = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    insides
        .flat_map(expanded)
        .map(|(inside, name)| (format!("{path}{inside}"), name))
        .collect()
}

/// Returns the length of the path, such as `a::b`, that a text begins with.
pub(super) fn path_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .unwrap_or(text.len())
}

/// Blanks comments and the contents of string literals, and removes unit tests.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some(hashes) = raw_string(rest, &code) {
            code.push_str("\"\"");
            let end = format!("\"{}", "#".repeat(hashes));
            rest = rest[hashes + 2..].split_once(&end).map_or("", |(_, after)| after);
        } else if rest.starts_with("'\"'") {
            rest = &rest[3..];
        } else if c == '"' {
            code.push_str("\"\"");
            let mut escaped = false;
            let end = rest[1..].find(|c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |end| &rest[end + 2..]);
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    without_tests(&code)
}

/// Returns the number of `#` of the raw string that a text begins with, if it begins with one.
fn raw_string(text: &str, before: &str) -> Option<usize> {
    let is_name = before.ends_with(|c: char| (c.is_alphanumeric() && c != 'b') || c == '_');
    let after = text.strip_prefix('r').filter(|_| !is_name)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Removes the items below `#[cfg(test)]`, such as a module of tests.
fn without_tests(code: &str) -> String {
    let mut pieces = code.split("\n#[cfg(test)]\n");
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        // An item ends with a semicolon, or with a brace at the beginning of a line.
        let end = match piece.find([';', '{']) {
            Some(end) if piece[end..].starts_with(';') => end + 1,
            _ => piece.find("\n}").map_or(piece.len(), |end| end + "\n}".len()),
        };
        kept.push_str(&piece[end..]);
    }
    kept
}

/// The files of `app/src`.
pub(super) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app/src");
    let sources = sources_below(&root, &root);
    assert!(sources.len() > 80, "only {} files in {}", sources.len(), root.display());
    sources
}

/// The files of the crates that `daybook` is built on.
pub(super) fn crate_sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = Vec::new();
    for folder in fs::read_dir(root.join("crates")).unwrap() {
        sources.extend(sources_below(&folder.unwrap().path().join("src"), &root));
    }
    assert!(sources.len() > 20, "only {} files in crates", sources.len());
    sources
}

fn sources_below(folder: &Path, root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    walk(folder, &mut found);
    let mut sources: Vec<_> = found
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            Source {
                path: file.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
                code: code_of(&text),
                lines: text.lines().count(),
            }
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

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

#[test]
fn the_source_reader_finds_all_files() {
    let text = r#"
        use crate::http::{self, Json, extract::{Path, Query as Q}};
        // crate::comment::is_none
        fn f() { crate::teams::person::is_line("crate::string::is_none \" crate::x"); }
#[cfg(test)]
mod tests {
    use crate::live::test_is_none;
}
        use crate::runs::{a as b, c::*};
    "#;
    let source = Source {
        path: "threads/store/a.rs".to_owned(),
        code: code_of(text),
        lines: 0,
    };
    assert_eq!(source.module(), "threads");
    assert_eq!(
        source.named(),
        [
            "http::self",
            "http::Json",
            "http::extract::Path",
            "http::extract::Query",
            "teams::person::is_line",
            "runs::a",
            "runs::c::*"
        ]
    );
}
