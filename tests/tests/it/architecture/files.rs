//! Which files of a module or a crate may name each other: in every folder, the files and subfolders have no cycle.
//!
//! A file that declares others (`mod.rs`, and `lib.rs` of a crate) counts as naming them. So none of them names what that
//! file defines: what several files of a folder need is in a file of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Graph, arrows_in_cycles};
use super::none;
use super::sources::{Source, crate_sources, expanded, path_length, sources};

/// Folders whose files still have cycles, each with the reason. Folders below them are no exceptions.
const WITH_CYCLES: [(&str, &str); 7] = [
    (
        "crates::private-postgres",
        "`lib.rs` defines the server that its files start and stop",
    ),
    (
        "crates::run-log",
        "a log is written, opened and closed by files that it names",
    ),
    ("crates::tenancy", "a database and its transactions refer to each other"),
    (
        "crates::tenancy::team_tx",
        "`team_tx.rs` defines the transaction whose methods are in its files",
    ),
    (
        "crates::wide-events",
        "an event, its fields and its pipeline are defined by each other",
    ),
    (
        "crates::wide-events::redaction",
        "`mod.rs` defines what its files return",
    ),
    (
        "crates::wide-events::redaction::detectors",
        "`detectors.rs` defines the detector that its files list",
    ),
];

/// A file, by the path of its module from the root of the crate, such as `jobs::store::feed`.
struct File {
    path: String,
    /// The code without its `use` declarations.
    body: String,
    /// The files that it declares.
    children: BTreeSet<String>,
    /// The macros that it exports; their paths begin at the root of the crate.
    macros: BTreeSet<String>,
    /// The imported names, each with its path as it is written.
    scope: BTreeMap<String, String>,
    /// The paths of imports that are not re-exports.
    used: Vec<String>,
}

/// The files of the crate.
struct Files(BTreeMap<String, File>);

impl Files {
    fn of(sources: &[Source]) -> Self {
        let file = |source: &Source| (module_of(&source.path), File::of(source));
        let mut files: BTreeMap<String, File> = sources.iter().map(file).collect();
        // What no file declares is declared in unit tests, or for fuzzing.
        let is_declared = |module: &str| {
            let (parent, name) = module.rsplit_once("::").unwrap_or(("", module));
            module.is_empty() || files.get(parent).is_some_and(|file| file.children.contains(name))
        };
        let left_out: Vec<_> = files.keys().filter(|module| !is_declared(module)).cloned().collect();
        files.retain(|module, _| !left_out.iter().any(|out| module == out || is_below(module, out)));
        Self(files)
    }

    /// Returns a path from the root of the crate, if its first name is known in this module.
    fn absolute(&self, module: &str, path: &str) -> Option<String> {
        let (first, rest) = path.split_once("::").unwrap_or((path, ""));
        let file = self.0.get(module)?;
        let base = match first {
            "crate" => String::new(),
            "self" => module.to_owned(),
            "super" => {
                let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent).to_owned();
                match rest.strip_prefix("super::") {
                    Some(_) => return self.absolute(&parent, rest),
                    None => parent,
                }
            }
            child if file.children.contains(child) => join(module, child),
            name => match file.scope.get(name) {
                Some(target) if target.split("::").next() != Some(name) => self.absolute(module, target)?,
                _ => return None,
            },
        };
        Some(join(&base, rest))
    }

    /// Follows a path from the root of the crate through modules and imports. Returns the module that defines its item,
    /// and the item; `None` if it is a module, or is not in this crate.
    fn resolve(&self, path: &str, steps: usize) -> Option<(String, String)> {
        let mut module = String::new();
        let mut names = path.split("::").filter(|name| !name.is_empty());
        while let Some(name) = names.next() {
            let file = self.0.get(&module)?;
            if file.children.contains(name) {
                module = join(&module, name);
                continue;
            }
            let Some(target) = file.scope.get(name) else {
                let exporting = |(_, file): &(&String, &File)| module.is_empty() && file.macros.contains(name);
                let module = self
                    .0
                    .iter()
                    .find(exporting)
                    .map_or(module, |(module, _)| module.clone());
                return Some((module, name.to_owned()));
            };
            let target = names.fold(self.absolute(&module, target)?, |path, name| join(&path, name));
            return self.resolve(&target, steps.checked_sub(1)?);
        }
        None
    }

    /// From each file to the files whose items it names.
    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (module, file) in &self.0 {
            let arrows = graph.entry(module.clone()).or_default();
            for path in file.used.iter().chain(&file.named()) {
                let item = self.absolute(module, path).and_then(|path| self.resolve(&path, 10));
                let Some((target, item)) = item else { continue };
                if target != *module {
                    let example = format!("{} names {item}", file.path);
                    arrows.entry(target).or_insert(example);
                }
            }
        }
        graph
    }
}

impl File {
    fn of(source: &Source) -> Self {
        let mut file = Self {
            path: source.path.clone(),
            body: String::new(),
            children: BTreeSet::new(),
            macros: exported_macros(&source.code),
            scope: BTreeMap::new(),
            used: Vec::new(),
        };
        for statement in source.code.split_inclusive(';') {
            let Some((before, import)) = import(statement) else {
                if let Some(child) = declared_module(statement) {
                    file.children.insert(child.to_owned());
                }
                file.body.push_str(statement);
                continue;
            };
            file.body.push_str(before);
            let is_private = !before.trim_end().ends_with("pub") && !before.trim_end().ends_with(')');
            for (path, name) in expanded(import) {
                let path = path.strip_suffix("::self").unwrap_or(&path).to_owned();
                let name = name.unwrap_or_else(|| path.rsplit("::").next().unwrap_or_default().to_owned());
                if is_private {
                    file.used.push(path.clone());
                }
                file.scope.insert(name, path);
            }
        }
        file
    }

    /// Returns the paths in the code below the imports, and single names that are imported.
    fn named(&self) -> Vec<String> {
        let mut named = Vec::new();
        let mut at = 0;
        while at < self.body.len() {
            let length = path_length(&self.body[at..]);
            if length == 0 {
                at += self.body[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            let path = self.body[at..at + length].trim_end_matches(':');
            let before = &self.body[..at];
            at += length;
            // Neither a field or method, nor the name of a function of this file.
            if !before.ends_with('.')
                && !before.ends_with("fn ")
                && (path.contains("::") || self.scope.contains_key(path))
            {
                named.push(path.to_owned());
            }
        }
        named
    }
}

/// Returns the text before an import, and its tree: `pub ` and `a::{b, c}` of `pub use a::{b, c};`.
fn import(statement: &str) -> Option<(&str, &str)> {
    let at = statement.rfind("use ")?;
    let (before, tree) = (&statement[..at], &statement["use ".len() + at..]);
    let is_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let is_path = tree.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '{');
    (is_word && is_path && tree.ends_with(';')).then_some((before, tree.trim_end_matches(';')))
}

/// Returns the file that a statement declares, unless it is for tests.
fn declared_module(statement: &str) -> Option<&str> {
    let (before, name) = statement.strip_suffix(';')?.rsplit_once("mod ")?;
    let attribute = before.rsplit_once("#[").map_or("", |(_, attribute)| attribute);
    let is_for_tests = attribute.starts_with("cfg(any(test") || attribute.starts_with("cfg(test");
    (path_length(name) == name.len() && !is_for_tests).then_some(name)
}

/// Returns the names of the macros with `#[macro_export]`.
fn exported_macros(code: &str) -> BTreeSet<String> {
    let after_attribute = code.split("#[macro_export]").skip(1);
    let names = after_attribute.filter_map(|code| code.split_once("macro_rules! "));
    names.map(|(_, name)| name[..path_length(name)].to_owned()).collect()
}

/// Returns the path of a file's module: `jobs::store` for `jobs/store/mod.rs`, and nothing for the root of the crate.
fn module_of(path: &str) -> String {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" {
        String::new()
    } else {
        path.replace('/', "::")
    }
}

fn join(path: &str, rest: &str) -> String {
    match (path, rest) {
        ("", rest) => rest.to_owned(),
        (path, "") => path.to_owned(),
        (path, rest) => format!("{path}::{rest}"),
    }
}

fn is_below(module: &str, folder: &str) -> bool {
    module.strip_prefix(folder).is_some_and(|rest| rest.starts_with("::"))
}

/// Describes the cycles between the files and subfolders of each folder, by the module of the folder.
fn cycles(files: &Files) -> Vec<(String, String)> {
    let all = files.graph();
    let mut found = Vec::new();
    for (folder, file) in files.0.iter().filter(|(_, file)| !file.children.is_empty()) {
        // A file in a subfolder counts as that subfolder.
        let within = |module: &str| {
            if folder == module {
                return Some(folder.clone());
            }
            let rest = match folder.as_str() {
                "" => module,
                folder => module.strip_prefix(folder)?.strip_prefix("::")?,
            };
            Some(join(folder, rest.split("::").next()?))
        };
        let mut graph = Graph::new();
        let declares = |child: &String| (join(folder, child), format!("{} declares it", file.path));
        graph.insert(folder.clone(), file.children.iter().map(declares).collect());
        for (module, arrows) in &all {
            for (target, example) in arrows {
                if let (Some(from), Some(to)) = (within(module), within(target))
                    && from != to
                {
                    graph
                        .entry(from)
                        .or_default()
                        .entry(to)
                        .or_insert_with(|| example.clone());
                }
            }
        }
        found.extend(
            arrows_in_cycles(&graph)
                .into_iter()
                .map(|arrow| (folder.clone(), arrow)),
        );
    }
    found
}

/// Returns the files of each crate in `crates/`, by the crate's name.
fn crates() -> BTreeMap<String, Files> {
    let mut sources: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for source in crate_sources() {
        let path = source.path.strip_prefix("crates/").unwrap();
        let (name, path) = path.split_once("/src/").unwrap();
        let (name, path) = (name.to_owned(), path.to_owned());
        sources.entry(name).or_default().push(Source { path, ..source });
    }
    let files = sources.into_iter().map(|(name, sources)| (name, Files::of(&sources)));
    files.collect()
}

#[test]
fn the_files_of_a_module_have_no_cycle() {
    let files = Files::of(&sources());
    assert!(files.0.len() > 200, "only {} files", files.0.len());
    // The modules of `app/src` themselves have layers, which `imports.rs` checks.
    let mut found = cycles(&files);
    found.retain(|(folder, _)| !folder.is_empty());
    for (name, files) in crates() {
        assert!(files.0.len() > 5, "only {} files in {name}", files.0.len());
        let root = format!("crates::{name}");
        let of_crate = cycles(&files).into_iter();
        found.extend(of_crate.map(|(folder, arrow)| (join(&root, &folder), format!("{name}: {arrow}"))));
    }
    let is_excepted = |folder: &str| WITH_CYCLES.iter().any(|(excepted, _)| folder == *excepted);
    let mut violations: Vec<_> = found
        .iter()
        .filter(|(folder, _)| !is_excepted(folder))
        .map(|(_, arrow)| arrow.clone())
        .collect();
    for (excepted, _) in WITH_CYCLES {
        if !found.iter().any(|(folder, _)| folder == excepted) {
            violations.push(format!("{excepted} has no cycle any more: remove it from WITH_CYCLES"));
        }
    }
    none(&violations);
}

#[test]
fn a_cycle_between_files_is_found() {
    let found = |files: &[(&str, &str)]| {
        let root = ("lib.rs", "mod a;\npub struct Root;");
        let source = |(path, code): &(&str, &str)| Source {
            path: (*path).to_owned(),
            code: (*code).to_owned(),
            lines: 0,
        };
        let sources: Vec<_> = files.iter().chain([&root]).map(source).collect();
        cycles(&Files::of(&sources))
            .into_iter()
            .map(|(_, arrow)| arrow)
            .collect::<Vec<_>>()
    };
    let none: [String; 0] = [];
    let face = (
        "a/mod.rs",
        "mod b;\nmod c;\npub use self::b::{B, b as bee};\npub(crate) use c::C;",
    );
    assert_eq!(
        found(&[face, ("a/b.rs", "use super::C;"), ("a/c.rs", "pub struct C;")]),
        none
    );
    // Through re-exports, a renamed import, and a path without an import.
    let back = [
        "use super::bee;",
        "use crate::a;\nfn f() { a::B::new() }",
        "fn f() -> super::b::B {}",
    ];
    for code in back {
        let arrows = ["a::b -> a::c: a/b.rs names C", "a::c -> a::b: a/c.rs names"];
        let found = found(&[face, ("a/b.rs", "use super::c;\nfn f() { c::C; }"), ("a/c.rs", code)]);
        assert!(
            found.len() == 2 && found.iter().zip(arrows).all(|(found, arrow)| found.starts_with(arrow)),
            "{found:?}"
        );
    }
    // A file that names what the file above it defines.
    let above = ("a/mod.rs", "mod b;\nstruct A;");
    assert_eq!(found(&[above, ("a/b.rs", "use super::A;")]).len(), 2);
    // The root of a crate counts like the `mod.rs` of a folder.
    assert_eq!(found(&[("a.rs", "use crate::Root;")]).len(), 2);
    // A cycle between a file and a folder, by different files of the folder.
    let folder = [
        ("a/mod.rs", "mod b;\nmod c;"),
        ("a/b.rs", "use super::c::d::D;"),
        ("a/c/mod.rs", "mod d;\nmod e;"),
        ("a/c/d.rs", "pub struct D;"),
        ("a/c/e.rs", "use crate::a::b::B;"),
    ];
    assert_eq!(found(&folder).len(), 2);
    // Exported macros are at the root of the crate, whichever file defines them.
    let macros = ("a/c.rs", "#[macro_export]\nmacro_rules! m { () => {} }\nuse super::B;");
    assert_eq!(found(&[face, ("a/b.rs", "fn f() { crate::m!() }"), macros]).len(), 2);
    // Unit tests, and code for fuzzing, may name the file that they test.
    let test = ("a/mod.rs", "#[cfg(any(test, feature = \"\"))]\nmod b;\nstruct A;");
    assert_eq!(found(&[test, ("a/b.rs", "use super::A;")]), none);
}
