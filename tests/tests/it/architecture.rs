//! The arrows between modules, read from the sources: what the compiler would let pass.

use std::fs;
use std::path::{Path, PathBuf};

const SLICES: [&str; 9] = [
    "threads",
    "notifications",
    "jobs",
    "runs",
    "analytics",
    "housekeeping",
    "stories",
    "auth",
    "campaigns",
];
/// A file near 400 lines is asking to be two.
const MAX_LINES: usize = 450;
const MAX_MAIN_LINES: usize = 60;

struct Source {
    /// Below `app/src`, such as `threads/store/posting.rs`.
    path: String,
    /// Without the unit tests at its end, without comments and without the insides of strings.
    code: String,
    lines: usize,
}

impl Source {
    /// The module that it belongs to: a folder of `app/src`, or a file there.
    fn module(&self) -> &str {
        let top = self.path.split('/').next().unwrap_or_default();
        top.strip_suffix(".rs").unwrap_or(top)
    }

    /// Paths from the crate's root that the code names, `crate::http::Team` as `http::Team`.
    fn named(&self) -> Vec<String> {
        let mut named = Vec::new();
        let code = self.code.replace("daybook::", "crate::").replace("pub(in crate::", "");
        for (at, _) in code.match_indices("crate::") {
            named.extend(expanded(&code[at + "crate::".len()..]));
        }
        named
    }
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`; only so far as the path goes.
fn expanded(text: &str) -> Vec<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    if !(path.is_empty() || path.ends_with("::")) || !rest.starts_with('{') {
        return vec![path.trim_end_matches(':').to_owned()];
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
        .map(|inside| format!("{path}{inside}"))
        .collect()
}

/// Blanks comments and the insides of string literals, and cuts unit tests off.
fn code_of(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("r#\"") {
            code.push_str("\"\"");
            rest = rest[3..].split_once("\"#").map_or("", |(_, after)| after);
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
    code
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app/src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    assert!(found.len() > 80, "only {} files in {}", found.len(), root.display());
    let mut sources: Vec<_> = found
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            Source {
                path: file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
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

fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// What `module` names outside itself that begins with one of `above`.
fn names_of(module: &str, above: &[&str]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.module() == module) {
        for named in source.named() {
            let root = named.split("::").next().unwrap_or_default();
            if above.contains(&root) {
                violations.push(format!("{} names crate::{named}", source.path));
            }
        }
    }
    violations
}

#[test]
fn tenancy_knows_nothing_above_it() {
    none(&names_of(
        "tenancy",
        &[
            "events",
            "threads",
            "notifications",
            "jobs",
            "auth",
            "http",
            "campaigns",
            "cli",
            "app",
            "App",
            "testing",
            "prelude",
        ],
    ));
}

#[test]
fn events_know_no_slice_and_no_http() {
    none(&names_of(
        "events",
        &[
            "threads",
            "notifications",
            "jobs",
            "auth",
            "http",
            "campaigns",
            "cli",
            "app",
            "App",
            "testing",
            "prelude",
        ],
    ));
}

#[test]
fn errors_and_settings_know_nothing_of_the_rest() {
    none(&names_of(
        "error",
        &[
            "threads",
            "notifications",
            "jobs",
            "auth",
            "http",
            "campaigns",
            "cli",
            "app",
            "testing",
        ],
    ));
    none(&names_of(
        "config",
        &[
            "threads",
            "notifications",
            "jobs",
            "auth",
            "http",
            "campaigns",
            "cli",
            "app",
            "testing",
            "tenancy",
            "events",
        ],
    ));
}

#[test]
fn wide_events_could_be_a_crate_of_their_own() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.module() == "wide_events") {
        let named = source.named().into_iter();
        violations.extend(named.map(|named| format!("{} names crate::{named}", source.path)));
    }
    none(&violations);
    // What they are told of teams and databases they are told by the HTTP side.
    for module in ["tenancy", "events", "error", "config"] {
        none(&names_of(module, &["wide_events"]));
    }
}

#[test]
fn nothing_but_the_program_knows_the_command_line_the_sample_and_the_tests() {
    let mut violations = Vec::new();
    for (module, may) in [
        ("cli", ["app", "cli", "lib"].as_slice()),
        ("campaigns", &["campaigns", "main", "lib"]),
        ("testing", &["testing", "lib"]),
    ] {
        for source in sources().iter().filter(|source| !may.contains(&source.module())) {
            let named = source
                .named()
                .into_iter()
                .filter(|named| named.split("::").next() == Some(module));
            violations.extend(named.map(|named| format!("{} names crate::{named}", source.path)));
        }
    }
    none(&violations);
}

#[test]
fn slices_meet_through_their_faces() {
    let mut violations = Vec::new();
    for source in &sources() {
        for named in source.named() {
            let parts: Vec<_> = named.split("::").collect();
            let inside = parts.len() > 2 && parts[1].starts_with(|c: char| c.is_lowercase());
            if SLICES.contains(&parts[0]) && parts[0] != source.module() && inside {
                violations.push(format!("{} names crate::{named}", source.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn the_sample_knows_the_prelude_and_nothing_else() {
    let mut violations = names_of(
        "campaigns",
        &[
            "app",
            "auth",
            "cli",
            "config",
            "error",
            "events",
            "http",
            "notifications",
            "jobs",
            "tenancy",
            "testing",
            "threads",
        ],
    );
    for source in sources().iter().filter(|source| source.module() == "campaigns") {
        for library in ["sqlx::", "axum::", "use sea_orm"] {
            if source.code.contains(library) {
                violations.push(format!("{} names {library}, which the prelude gives", source.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn routes_have_no_sql_and_stores_no_axum() {
    let mut violations = Vec::new();
    for source in &sources() {
        let is =
            |part: &str| source.path.contains(&format!("/{part}/")) || source.path.ends_with(&format!("/{part}.rs"));
        let refused: &[&str] = if is("routes") {
            &[
                "sqlx::",
                "fetch_all",
                "fetch_optional",
                "execute_sql",
                "execute_unprepared",
                ".exec(tx",
                ".all(tx",
                ".one(tx",
                "Entity::find",
            ]
        } else if is("store") {
            &[
                "axum",
                "IntoResponse",
                "StatusCode",
                "crate::http::Team",
                "utoipa::path",
            ]
        } else {
            continue;
        };
        let found = refused.iter().filter(|word| source.code.contains(**word));
        violations.extend(found.map(|word| format!("{} has {word}", source.path)));
    }
    none(&violations);
}

#[test]
fn only_tenancy_holds_a_pool() {
    let mut violations = Vec::new();
    for source in &sources() {
        // Tests and the command line connect as the owner, whom policies bind; what serves requests does not.
        if ["tenancy", "testing", "cli"].contains(&source.module()) {
            continue;
        }
        for word in [
            "PgPool",
            "PgConnection",
            "PoolConnection",
            "DatabaseConnection",
            "SET ROLE",
        ] {
            if source.code.contains(word) {
                violations.push(format!("{} has {word}", source.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn files_stay_small_enough_to_read() {
    let mut violations = Vec::new();
    for source in &sources() {
        let limit = if source.path == "main.rs" {
            MAX_MAIN_LINES
        } else {
            MAX_LINES
        };
        if source.lines > limit {
            violations.push(format!("{} has {} lines; at most {limit}", source.path, source.lines));
        }
    }
    none(&violations);
}

#[test]
fn stdout_is_for_results_and_wide_events() {
    let mut violations = Vec::new();
    for source in &sources() {
        for word in ["println!", "print!", "io::stdout"] {
            let times = source
                .code
                .replace("eprintln!", "")
                .replace("eprint!", "")
                .matches(word)
                .count();
            // The results of commands, wide events, and whether a person looks on.
            let allowed = match (source.path.as_str(), word) {
                ("cli/output.rs", "io::stdout") => 3,
                // What a program says that runs under us.
                ("cli/exec/child.rs", "io::stdout") => 1,
                ("wide_events/sink.rs", "io::stdout") => 1,
                _ => 0,
            };
            if times > allowed {
                violations.push(format!("{} has {word}", source.path));
            }
        }
    }
    none(&violations);
}

/// What others wrote reaches a terminal by `cli/output.rs` alone, which writes out what a terminal would act on.
#[test]
fn commands_print_through_one_file() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.module() == "cli") {
        if source.path == "cli/output.rs" {
            continue;
        }
        for word in ["eprint", "::stdout()", "::stderr()", "io::stderr", "io::stdout"] {
            let times = source.code.matches(word).count();
            // What a program says that runs under us goes through as it is.
            let allowed = usize::from(source.path == "cli/exec/child.rs" && word != "eprint");
            if times > allowed {
                violations.push(format!("{} has {word}", source.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn the_reader_of_sources_sees_what_is_there() {
    let text = r#"
        use crate::http::{self, Json, extract::{Path, Query as Q}};
        // crate::comment::is_none
        fn f() { crate::auth::person::is_line("crate::string::is_none \" crate::x"); }
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
            "auth::person::is_line"
        ]
    );
}
