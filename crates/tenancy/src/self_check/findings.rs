//! What a check found.

/// What a check found, each with its remedy.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Errors: with one of these, the service does not start.
    pub(super) refused: Vec<String>,
    /// Warnings, which are logged: they may be intended, or no team's rows depend on them.
    pub(super) warned: Vec<String>,
}
