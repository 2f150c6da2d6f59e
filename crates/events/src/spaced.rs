//! Names as people read them.

/// Returns a database name as people read it: `client_email` is `client email`.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}
