//! Checks the sources of `app/src` and `crates` for rules that the compiler can't enforce.

mod contents;
mod crates;
mod files;
mod graph;
mod imports;
mod sources;

fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}
