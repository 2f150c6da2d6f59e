//! Times in requests: RFC 3339, with years that the database and every parser of the format support.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use crate::error::{Error, Result};
use crate::tenancy::timestamps::is_writable;

/// Parses the time in a parameter.
///
/// # Errors
/// [`Error::Invalid`] that names the parameter.
pub(crate) fn timestamp(parameter: &str, text: &str) -> Result<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok();
    // The year is checked in the time's own offset. In UTC the time may be up to a day earlier or later, which the
    // database accepts.
    let read = read.filter(is_writable);
    read.map(|timestamp| timestamp.with_timezone(&Utc)).ok_or_else(|| {
        Error::invalid(
            parameter,
            "must be a moment (RFC 3339) of a year from 1 to 9999, as in 2026-11-21T10:30:00Z; in an address + is %2B",
        )
    })
}

/// Returns whether a text is a time or a date, in any form that serde parses as one, with a year outside the range.
pub(super) fn is_unstorable(text: &str) -> bool {
    let writable = text
        .parse::<DateTime<Utc>>()
        .map(|timestamp| is_writable(&timestamp))
        .or_else(|_| text.parse::<NaiveDateTime>().map(|timestamp| is_writable(&timestamp)))
        .or_else(|_| text.parse::<NaiveDate>().map(|day| is_writable(&day)));
    writable.is_ok_and(|writable| !writable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_have_a_range() {
        for good in [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "2026-11-21T10:30:00+01:00",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert!(timestamp("since", good).is_ok(), "{good}");
        }
        for wrong in [
            "0000-12-31T23:59:59Z",
            "-262143-01-01T00:00:00Z",
            "+262142-12-31T00:00:00Z",
            "yesterday",
            "",
        ] {
            assert!(
                timestamp("since", wrong)
                    .unwrap_err()
                    .to_string()
                    .starts_with("since: "),
                "{wrong}"
            );
        }
    }

    #[test]
    fn every_form_that_serde_parses_is_known() {
        for wrong in [
            "-262143-01-01T00:00:00Z",
            "+10000-01-01T00:00:00+00:00",
            "0000-01-01T00:00:00",
            "-0001-01-01",
        ] {
            assert!(is_unstorable(wrong), "{wrong}");
        }
        for good in ["2026-11-21T10:30:00Z", "2026-11-21", "ada", "", "-262143"] {
            assert!(!is_unstorable(good), "{good}");
        }
    }
}
