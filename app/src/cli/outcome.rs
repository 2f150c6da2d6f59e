//! What a command returns.

/// What a command returns. The error is printed for a person.
pub(super) type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;
