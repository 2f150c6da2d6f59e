//! Which modules may name which: the arrows of ARCHITECTURE.md.

use super::none;
use super::sources::sources;

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
