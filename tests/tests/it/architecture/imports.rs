//! Which modules may name which: the layers of ARCHITECTURE.md, and no cycle between the modules of `app/src`.

use super::graph::{Graph, arrows_in_cycles};
use super::none;
use super::sources::sources;

/// The modules of `app/src`, from the top to the bottom. A module names modules of layers below its own; within
/// [`SLICES`], slices may name each other's faces, without a cycle.
const LAYERS: [&[&str]; 10] = [
    &["main"],
    &["cli", "campaigns", "fuzzing", "testing"],
    &["prelude"],
    &["app"],
    &["server"],
    SLICES,
    &["http"],
    &["auth"],
    &["signals"],
    &["config", "postgres", "terminal"],
];

const SLICES: &[&str] = &[
    "analytics",
    "housekeeping",
    "jobs",
    "live",
    "notifications",
    "runs",
    "stories",
    "teams",
    "threads",
];

/// Items at the root of the crate, and the modules that they come from.
const RE_EXPORTED: [(&str, &str); 2] = [("App", "app"), ("Seeder", "app")];

/// Names below `crate::` that are no module of `app/src`: re-exported crates, and what macros expand to.
const NO_MODULES: [&str; 11] = [
    "assert_events",
    "clock",
    "error",
    "events",
    "json",
    "migration",
    "tenancy",
    "text",
    "wide_events",
    "Error",
    "Result",
];

fn module_graph() -> Graph {
    let mut graph = Graph::new();
    for source in sources() {
        // It declares the modules, and names each.
        if source.module() == "lib" {
            continue;
        }
        let arrows = graph.entry(source.module().to_owned()).or_default();
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

#[test]
fn every_module_has_a_layer() {
    let mut violations = Vec::new();
    for (module, arrows) in module_graph() {
        let all = arrows.keys().chain([&module]);
        let unknown = all.filter(|module| layer_of(module).is_none());
        violations.extend(unknown.map(|module| format!("{module} is in no layer of LAYERS")));
    }
    none(&violations);
}

#[test]
fn modules_name_only_modules_of_lower_layers() {
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
fn modules_have_no_cycle() {
    none(&arrows_in_cycles(&module_graph()));
}

/// The HTTP side adds the fields about teams and databases. For the crates below, their manifests ensure the same: see
/// `crates.rs`.
#[test]
fn signals_and_config_know_no_http() {
    let mut violations = Vec::new();
    for source in sources() {
        let of_wide_events = source.named().into_iter().any(|named| named.starts_with("wide_events"));
        let foreign = match source.module() {
            "config" => of_wide_events,
            "signals" => of_wide_events || source.code.contains("axum"),
            _ => false,
        };
        if foreign {
            violations.push(format!("{} names axum or wide events", source.path));
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

/// What the module of a user imports beside Daybook's prelude: SeaORM's names for an entity and for a migration.
const PRELUDES_OF_SEA_ORM: [&str; 2] = ["use sea_orm::entity::prelude::*;", "use sea_orm_migration::prelude::*;"];

#[test]
fn the_sample_knows_the_prelude_and_nothing_else() {
    let mut violations = Vec::new();
    for (target, example) in &module_graph()["campaigns"] {
        if target != "prelude" {
            violations.push(example.clone());
        }
    }
    for source in sources().iter().filter(|source| source.module() == "campaigns") {
        let mut code = source.code.clone();
        for prelude in PRELUDES_OF_SEA_ORM {
            code = code.replace(prelude, "");
        }
        for library in ["sqlx::", "axum::", "use sea_orm", "daybook_"] {
            if code.contains(library) {
                violations.push(format!("{} names {library}, which the prelude gives", source.path));
            }
        }
    }
    none(&violations);
}
