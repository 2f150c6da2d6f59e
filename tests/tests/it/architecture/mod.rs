//! Checks the sources of `app/src` for rules that the compiler can't enforce.

mod contents;
mod imports;
mod sources;

fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}
