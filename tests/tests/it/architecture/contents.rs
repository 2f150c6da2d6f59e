//! Checks what a file may contain: SQL, connections, output, and the number of lines.

use super::none;
use super::sources::{Source, crate_sources, sources};

/// A file with more than about 400 lines should be split.
const MAX_LINES: usize = 450;
const MAX_MAIN_LINES: usize = 60;

/// The files of `crates/events`.
fn event_sources() -> Vec<Source> {
    let mut sources = crate_sources();
    sources.retain(|source| source.path.starts_with("crates/events/"));
    assert!(!sources.is_empty());
    sources
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
    for source in sources().iter().chain(&event_sources()) {
        // Tests and the command line connect as the owner, who is subject to the policies; request handlers don't.
        if ["signals", "testing", "cli"].contains(&source.module()) {
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

/// The untyped store below the parts is reached in one file of each layer. The program's own values are for programs and
/// `daybook::testing`, not for Daybook itself.
#[test]
fn a_layer_reads_its_parts_of_a_database_in_one_file() {
    let mut violations = Vec::new();
    for source in sources().iter().chain(&event_sources()) {
        if source.path.ends_with("/parts.rs") {
            continue;
        }
        for word in ["layer_parts", "LayerParts for", ".extension::<"] {
            let allowed = word == ".extension::<" && source.module() == "testing";
            if source.code.contains(word) && !allowed {
                violations.push(format!("{} has {word}", source.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn files_stay_small_enough_to_read() {
    let mut violations = Vec::new();
    for source in sources().iter().chain(&crate_sources()) {
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
    for source in sources().iter().chain(&crate_sources()) {
        for word in ["println!", "print!", "io::stdout"] {
            let times = source
                .code
                .replace("eprintln!", "")
                .replace("eprint!", "")
                .matches(word)
                .count();
            // The results of commands, wide events, and the check whether stdout is a terminal.
            let allowed = match (source.path.as_str(), word) {
                ("cli/output.rs", "io::stdout") => 3,
                // The output of the program that `daybook exec` runs.
                ("cli/exec/child.rs", "io::stdout") => 1,
                ("crates/wide-events/src/sink.rs", "io::stdout") => 1,
                _ => 0,
            };
            if times > allowed {
                violations.push(format!("{} has {word}", source.path));
            }
        }
    }
    none(&violations);
}

/// Foreign text reaches a terminal only through `cli/output.rs`, which escapes terminal control characters.
#[test]
fn commands_print_through_one_file() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.module() == "cli") {
        if source.path == "cli/output.rs" {
            continue;
        }
        for word in ["eprint", "::stdout()", "::stderr()", "io::stderr", "io::stdout"] {
            let times = source.code.matches(word).count();
            // The output of the program that `daybook exec` runs is passed through unchanged.
            let allowed = usize::from(source.path == "cli/exec/child.rs" && word != "eprint");
            if times > allowed {
                violations.push(format!("{} has {word}", source.path));
            }
        }
    }
    none(&violations);
}
