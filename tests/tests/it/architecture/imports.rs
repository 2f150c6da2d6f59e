//! Checks which modules may use which: the arrows of ARCHITECTURE.md.

use super::none;
use super::sources::sources;

/// The modules of `app/src`, from the top to the bottom. A module names modules of layers below its own; within
/// [`SLICES`], slices may name each other's faces, without a cycle.
const LAYERS: [&[&str]; 13] = [
    &["main"],
    &["cli", "campaigns", "fuzzing", "testing"],
    &["prelude"],
    &["app"],
    &["server"],
    SLICES,
    &["http"],
    &["auth"],
    &["events"],
    &["tenancy"],
    &["json"],
    &["error"],
    &["config", "terminal", "text", "wide_events"],
];

/// Returns the paths outside `module` that it uses and that begin with one of `above`.
fn names_of(module: &str, above: &[&str]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.module() == module) {
        for named in source.named() {
            let root = named.split("::").next().unwrap_or_default();
            let re_exported = RE_EXPORTED.iter().find(|(item, _)| *item == root);
            let target = re_exported.map_or(root, |(_, module)| module);
            if target != source.module() && !NO_MODULES.contains(&target) {
                let example = format!("{} names crate::{named}", source.path);
                arrows.entry(target.to_owned()).or_insert(example);
            }
        }
    }
    graph
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules that are in a cycle, or name one that is.
fn left_in_cycles(graph: &Graph) -> BTreeSet<String> {
    let mut left: BTreeSet<String> = graph.keys().cloned().collect();
    loop {
        let names_none_left = |module: &String| graph[module].keys().all(|target| !left.contains(target));
        let Some(done) = left.iter().find(|module| names_none_left(module)).cloned() else {
            return left;
        };
        left.remove(&done);
    }
}

#[test]
fn tenancy_uses_nothing_above_it() {
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
fn events_use_no_slice_and_no_http() {
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
fn errors_and_settings_use_nothing_of_the_rest() {
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
fn wide_events_could_be_their_own_crate() {
    let mut violations = Vec::new();
    for (module, arrows) in module_graph() {
        let all = arrows.keys().chain([&module]);
        let unknown = all.filter(|module| layer_of(module).is_none());
        violations.extend(unknown.map(|module| format!("{module} is in no layer of LAYERS")));
    }
    none(&violations);
    // The HTTP side passes them what they need to know about teams and databases.
    for module in ["tenancy", "events", "error", "config"] {
        none(&names_of(module, &["wide_events"]));
    }
}

#[test]
fn only_the_program_uses_the_command_line_the_sample_and_the_tests() {
    let mut violations = Vec::new();
    for (module, arrows) in module_graph() {
        for (target, example) in arrows {
            let (Some(from), Some(to)) = (layer_of(&module), layer_of(&target)) else {
                continue;
            };
            let between_slices = LAYERS[from] == SLICES && LAYERS[to] == SLICES;
            if to <= from && !between_slices {
                violations.push(format!("{module} is not above {target}: {example}"));
            }
        }
    }
    none(&violations);
}

#[test]
fn slices_use_each_other_through_their_public_items() {
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
fn the_sample_uses_only_the_prelude() {
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
