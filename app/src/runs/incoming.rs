//! Parses and validates incoming lines.

use daybook_run_log::{IncomingLine, format_time};
use serde::Deserialize;
use serde_json::Value;

use super::status::RunStatus;
use crate::error::{Error, FieldError, Result};
use crate::http::Json;
use crate::json::fault_in;
use crate::tenancy::timestamps::{MUST_BE_WRITABLE, is_writable};

/// The source of the lines that the service itself writes.
pub(super) const SERVICE_SOURCE: &str = "daybook";
/// The maximum length of a type or a source, in bytes.
const MAX_WORD_BYTES: usize = 100;

/// Parses and validates one line of at most `limit` bytes. If a line `number` is given, errors name the line by it.
///
/// # Errors
/// [`Error::Invalid`] with the field that is wrong; [`Error::BadRequest`] for text that is not JSON, without a
/// `number`.
pub(super) fn parse_line(text: &[u8], limit: usize, number: Option<u64>) -> Result<IncomingLine<'_>> {
    let at = |name: &str| field_path(number, name);
    if text.len() > limit {
        let detail = format!(
            "is {} bytes long; the maximum length of a line is {limit} bytes",
            text.len()
        );
        return Err(Error::invalid(at("$"), detail));
    }
    let Ok(mut line) = serde_json::from_slice::<IncomingLine<'_>>(text) else {
        return Err(refusal(text, number));
    };
    if !text.starts_with(b"{") {
        return Err(Error::invalid(at("$"), "must be a JSON object"));
    }
    let is_valid_name = |word: &str| {
        word.len() <= MAX_WORD_BYTES
            && word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    let name_rule = "must begin with a letter a-z and have at most 100 characters of a-z, 0-9, '.', '_' and '-'";
    if !is_valid_name(&line.kind) {
        return Err(Error::invalid(at("type"), name_rule));
    }
    if let Some(detail) = reserved(&line.kind) {
        return Err(Error::invalid(at("type"), detail));
    }
    if line.source.as_deref().is_some_and(|source| !is_valid_name(source)) {
        return Err(Error::invalid(at("source"), name_rule));
    }
    if line.source.as_deref() == Some(SERVICE_SOURCE) {
        return Err(Error::invalid(at("source"), "is reserved for the service"));
    }
    if line.payload.is_some_and(|payload| !payload.get().starts_with('{')) {
        return Err(Error::invalid(at("payload"), "must be an object"));
    }
    if let Some(payload) = line.payload {
        if let Some(fault) = fault_in(payload.get().as_bytes()) {
            let inside = match fault.field.as_str() {
                "$" => "payload".to_owned(),
                path => format!("payload.{path}"),
            };
            return Err(Error::invalid(at(&inside), fault.detail));
        }
        if !is_text(payload.get()) {
            let detail = "must be JSON that every parser accepts, without an unpaired surrogate";
            return Err(Error::invalid(at("payload"), detail));
        }
    }
    if line.kind == "log.gap" {
        let count = line
            .payload
            .and_then(|payload| serde_json::from_str::<Value>(payload.get()).ok());
        if count
            .and_then(|payload| payload["count"].as_u64())
            .is_none_or(|count| count == 0)
        {
            return Err(Error::invalid(
                at("payload.count"),
                "must be the number of missing lines, 1 or more",
            ));
        }
    }
    if let Some(text) = &line.created_at {
        let parsed = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| {
            Error::invalid(
                at("created_at"),
                "must be an RFC 3339 time, such as 2026-11-21T10:30:00Z",
            )
        })?;
        if !is_writable(&parsed.to_utc()) {
            return Err(Error::invalid(at("created_at"), MUST_BE_WRITABLE));
        }
        line.created_at = Some(format_time(parsed.to_utc()).into());
    }
    Ok(line)
}

/// Returns the name of a field in an error. `$` means the whole line.
fn field_path(number: Option<u64>, name: &str) -> String {
    match (number, name) {
        (None, name) => name.to_owned(),
        (Some(number), "$") => format!("line {number}"),
        (Some(number), name) => format!("line {number}: {name}"),
    }
}

/// Returns whether all strings of a raw JSON value are valid text, without unpaired surrogates. Only payloads with an
/// escape that may be a surrogate are parsed for this check, and such payloads are rare.
fn is_text(payload: &str) -> bool {
    let bytes = payload.as_bytes();
    let escaped = || memchr::memmem::find(bytes, b"\\ud").is_some() || memchr::memmem::find(bytes, b"\\uD").is_some();
    let suspicious = memchr::memchr(b'\\', bytes).is_some() && escaped();
    !suspicious || serde_json::from_str::<Value>(payload).is_ok()
}

/// Returns the error detail for a type that only the service writes. The detail explains what the client can do
/// instead.
fn reserved(kind: &str) -> Option<&'static str> {
    match kind {
        "run.completed" => Some("is written by the service: end a run with POST …/complete or POST …/cancel"),
        "run.queued" => Some("is written by the service, as a run's first line"),
        "log.recovered" => Some("is written by the service"),
        _ => None,
    }
}

/// Returns the status to which a line moves the run, if it moves it.
pub(super) fn status_in(line: &IncomingLine<'_>) -> Option<RunStatus> {
    match &*line.kind {
        "run.started" => Some(RunStatus::Running),
        "build.started" => Some(RunStatus::Building),
        _ => None,
    }
}

/// Returns the error for a line that can't be parsed, with the fields that are wrong.
fn refusal(text: &[u8], number: Option<u64>) -> Error {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape is checked")]
    struct Shape {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        payload: Option<Value>,
        #[serde(default)]
        created_at: Option<String>,
        #[serde(default)]
        source: Option<String>,
    }
    let refused = match Json::<Shape>::from_bytes(text) {
        Err(refused) => refused,
        // The line has the right shape. Only the stricter parser of [`IncomingLine`] has refused it.
        Ok(_) => Error::invalid("$", "must be one JSON object in UTF-8"),
    };
    if number.is_none() {
        return refused;
    }
    Error::Invalid(match refused {
        Error::Invalid(errors) => errors
            .into_iter()
            .map(|error| FieldError {
                field: field_path(number, &error.field),
                detail: error.detail,
            })
            .collect(),
        other => vec![FieldError {
            field: field_path(number, "$"),
            detail: other.to_string(),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_line_is_refused_with_its_field() {
        for (text, field, words) in [
            (r#"{"payload":{}}"#, "line 3: type", "missing"),
            (r#"{"type":"Console"}"#, "line 3: type", "a-z"),
            (r#"{"type":"run.completed"}"#, "line 3: type", "POST …/complete"),
            (r#"{"type":"x","payload":[1]}"#, "line 3: payload", "must be an object"),
            (r#"{"type":"x","created_at":"now"}"#, "line 3: created_at", "RFC 3339"),
            (
                r#"{"type":"x","created_at":"9999-12-31T23:59:59-05:00"}"#,
                "line 3: created_at",
                "years 0001 to 9999",
            ),
            (
                r#"{"type":"x","created_at":"0000-01-01T00:00:00Z"}"#,
                "line 3: created_at",
                "years 0001 to 9999",
            ),
            (r#"{"type":"x","source":"\"},"}"#, "line 3: source", "a-z"),
            (r#"{"type":"x","sequence":7}"#, "line 3: sequence", ""),
            (r#"{"type":"#, "line 3", "JSON"),
            ("[]", "line 3", ""),
            (r#"["x",{},null,null]"#, "line 3", "must be a JSON object"),
            (r#"{"type":"x","source":"daybook"}"#, "line 3: source", "reserved"),
            (
                r#"{"type":"x","payload":{"a":"\ud800"}}"#,
                "line 3: payload",
                "surrogate",
            ),
            (
                r#"{"type":"log.gap","payload":{"count":-1}}"#,
                "line 3: payload.count",
                "1 or more",
            ),
        ] {
            let Error::Invalid(errors) = parse_line(text.as_bytes(), 1_000, Some(3)).unwrap_err() else {
                panic!("{text}");
            };
            assert_eq!(errors[0].field, field, "{text}: {errors:?}");
            assert!(errors[0].detail.contains(words), "{text}: {errors:?}");
        }
        let deep = format!(
            r#"{{"type":"x","payload":{{"a":{}{}}}}}"#,
            "[".repeat(300),
            "]".repeat(300)
        );
        assert!(
            parse_line(deep.as_bytes(), 1_000, None)
                .unwrap_err()
                .to_string()
                .contains("levels deep")
        );
        // 121 and 101 levels. A flat line may have the same number of brackets.
        for levels in [121, 101] {
            let inside = levels - 1;
            let deep = format!(
                r#"{{"type":"x","payload":{{"a":{}{}}}}}"#,
                "[".repeat(inside),
                "]".repeat(inside)
            );
            let refused = parse_line(deep.as_bytes(), 1_000, Some(3)).unwrap_err().to_string();
            assert!(refused.starts_with("line 3: payload.a[0][0]"), "{levels}: {refused}");
        }
        let deepest = format!(
            r#"{{"type":"x","payload":{{"a":{}{}}}}}"#,
            "[".repeat(99),
            "]".repeat(99)
        );
        assert!(parse_line(deepest.as_bytes(), 1_000, None).is_ok());
        let brackets = format!(r#"{{"type":"x","payload":{{"message":"{}"}}}}"#, "[{".repeat(200));
        assert!(parse_line(brackets.as_bytes(), 1_000, None).is_ok());
        for (number, taken) in [
            ("1e999", false),
            ("-1e400", false),
            ("18446744073709551616", false),
            ("1e308", true),
        ] {
            let line = format!(r#"{{"type":"x","payload":{{"rows":[0,{{"n":{number}}}]}}}}"#);
            match parse_line(line.as_bytes(), 1_000, Some(3)) {
                Ok(_) => assert!(taken, "{number}"),
                Err(refused) => assert!(
                    !taken && refused.to_string().starts_with("line 3: payload.rows[1].n: "),
                    "{refused}"
                ),
            }
        }
        let long = format!(r#"{{"type":"x","payload":{{"message":"{}"}}}}"#, "y".repeat(1_000));
        let refused = parse_line(long.as_bytes(), 1_000, None).unwrap_err();
        assert!(
            refused.to_string().contains("maximum length of a line is 1000"),
            "{refused}"
        );
    }

    #[test]
    fn a_time_is_stored_in_one_format() {
        let line = parse_line(br#"{"type":"x","created_at":"2026-11-21T12:00:00+02:00"}"#, 1_000, None).unwrap();
        assert_eq!(line.created_at.as_deref(), Some("2026-11-21T10:00:00.000000Z"));
    }
}
