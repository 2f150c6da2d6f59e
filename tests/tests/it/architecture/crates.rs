//! Checks the manifests of the libraries in `crates/`: they know nothing of the service.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::none;

/// Crates that a library without HTTP and database must not depend on.
const FOREIGN_TO_RUN_LOG: [&str; 6] = ["axum", "clap", "hyper", "reqwest", "sea-orm", "sqlx"];

fn libraries() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut libraries: Vec<_> = entries.filter(|path| path.join("Cargo.toml").exists()).collect();
    libraries.sort();
    assert!(!libraries.is_empty(), "no libraries in {folder}");
    libraries
}

/// Returns the names of the dependencies in a manifest, also those for tests.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_list = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_list = line.ends_with("dependencies]");
        } else if is_list && line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let end = line.find(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
            names.push(line[..end.unwrap_or(line.len())].to_owned());
        }
    }
    names
}

#[test]
fn libraries_do_not_depend_on_daybook() {
    let mut violations = Vec::new();
    for library in libraries() {
        let manifest = fs::read_to_string(library.join("Cargo.toml")).unwrap();
        let names = dependencies(&manifest);
        assert!(names.len() > 2, "{} lists {names:?}", library.display());
        let foreign = names.iter().filter(|name| {
            let is_run_log = library.ends_with("run-log");
            let of_workspace = ["daybook", "daybook-tests"].contains(&name.as_str())
                || name.as_str() == "daybook-macros" && !library.ends_with("events");
            of_workspace || is_run_log && FOREIGN_TO_RUN_LOG.contains(&name.as_str())
        });
        violations.extend(foreign.map(|name| format!("{} depends on {name}", library.display())));
    }
    none(&violations);
}

/// A service with its own HTTP server and command line depends on `daybook-events` alone.
#[test]
fn events_alone_need_no_http_server_and_no_command_line() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--package", "daybook-events"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("daybook-tenancy") && names.contains("sqlx"), "{names:?}");
    let foreign = [
        "axum",
        "axum-core",
        "clap",
        "daybook-wide-events",
        "hyper",
        "jsonschema",
        "reqwest",
        "zeekstd",
    ];
    none(
        &foreign
            .into_iter()
            .filter(|name| names.contains(name))
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_dependencies_of_a_manifest_are_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# a comment\nserde.workspace = true\n\
                    sea-orm = { version = \"2\" }\n\n[dev-dependencies]\naxum = \"1\"\n[lints]\nworkspace = true\n";
    assert_eq!(dependencies(manifest), ["serde", "sea-orm", "axum"]);
}
