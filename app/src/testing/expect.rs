//! Panics that show an error with its causes.

/// Returns the value, or panics with the error and its causes. Daybook's errors don't include their causes in their
/// message.
pub(super) fn expect_ok<T, E: std::error::Error>(outcome: Result<T, E>, doing: &str) -> T {
    outcome.unwrap_or_else(|error| {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        panic!("could not {doing}: {message}")
    })
}
