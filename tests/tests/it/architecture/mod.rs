//! What the compiler would let pass, read from the sources of `app/src`.

mod contents;
mod imports;
mod sources;

fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}
