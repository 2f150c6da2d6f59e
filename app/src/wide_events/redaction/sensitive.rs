//! A value that can't be written by mistake.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::REDACTED;

/// A value that is `[REDACTED]` wherever it is serialised or printed, whatever the rules are.
///
/// It comes in by `Deserialize`, so that a request's body may have it, and out by [`Sensitive::expose`] alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value, unwrapped.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Sensitive<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> fmt::Display for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> Serialize for Sensitive<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sensitive<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensitive_value_comes_in_and_does_not_go_out() {
        let password: Sensitive<String> = serde_json::from_str(r#""hunter2""#).unwrap();
        assert_eq!(password.expose(), "hunter2");
        assert_eq!(serde_json::to_string(&password).unwrap(), r#""[REDACTED]""#);
        assert_eq!(format!("{password} {password:?}"), "[REDACTED] [REDACTED]");
    }
}
