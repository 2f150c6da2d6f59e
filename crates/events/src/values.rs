//! Encodes column values for events, and compares two values to decide whether a field has changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveTime, SecondsFormat, TimeZone, Timelike as _, Utc};
use sea_orm::Value;
use sea_orm::sea_query::OptionEnum;
use serde_json::{Value as Json, json};

use super::payload::json_null;
use daybook_tenancy::error::{Error, Result};
use daybook_tenancy::json::{MAX_JSON_DEPTH, Unreadable, WRITES_PLACEHOLDER, is_too_deep, refuse_too_deep};
use daybook_tenancy::timestamps::{MUST_BE_WRITABLE, is_writable};

/// The largest integer that every JSON reader keeps exactly (2^53−1).
const MAX_EXACT_INTEGER: u64 = (1 << 53) - 1;

/// Returns a column's value as events record it.
///
/// Decimals are strings, with the digits that the database holds. Integers are numbers up to 2^53−1 and strings above
/// it. Instants are RFC 3339 in UTC with microseconds. Bytes are base64. Numbers that JSON doesn't have (NaN,
/// infinities) are strings. The null of a JSON column is `{"json_null": true}`, because null itself means that there is
/// no value.
pub(super) fn recorded(value: Value) -> Json {
    match value {
        Value::Bool(v) => json!(v),
        Value::TinyInt(v) => json!(v),
        Value::SmallInt(v) => json!(v),
        Value::Int(v) => json!(v),
        Value::BigInt(v) => v.map_or(Json::Null, signed),
        Value::TinyUnsigned(v) => json!(v),
        Value::SmallUnsigned(v) => json!(v),
        Value::Unsigned(v) => json!(v),
        Value::BigUnsigned(v) => v.map_or(Json::Null, unsigned),
        Value::Float(v) => v.map_or(Json::Null, |v| float(v.into(), &v)),
        Value::Double(v) => v.map_or(Json::Null, |v| float(v, &v)),
        Value::String(v) => json!(v),
        Value::Enum(OptionEnum::Some(v)) => json!(v.value),
        Value::Enum(OptionEnum::None(_)) => Json::Null,
        Value::Char(v) => json!(v),
        Value::Bytes(v) => v.map_or(Json::Null, |v| Json::String(STANDARD.encode(v))),
        Value::Json(v) => match v.map(|v| *v) {
            None => Json::Null,
            Some(Json::Null) => json_null(),
            // Only SQL can have written this value, because the helpers refuse it. Its event must be readable, too.
            Some(v) if is_too_deep(&v, MAX_JSON_DEPTH) => Unreadable::TOO_DEEP.placeholder(),
            Some(v) => v,
        },
        Value::ChronoDate(v) => v.map_or(Json::Null, |v| Json::String(v.to_string())),
        Value::ChronoTime(v) => v.map_or(Json::Null, |v| Json::String(v.to_string())),
        Value::ChronoDateTime(v) => v.map_or(Json::Null, |v| Json::String(v.format("%FT%T%.6f").to_string())),
        Value::ChronoDateTimeUtc(v) => v.map_or(Json::Null, instant),
        Value::ChronoDateTimeLocal(v) => v.map_or(Json::Null, instant),
        Value::ChronoDateTimeWithTimeZone(v) => v.map_or(Json::Null, instant),
        Value::Uuid(v) => v.map_or(Json::Null, |v| Json::String(v.to_string())),
        Value::Decimal(v) => v.map_or(Json::Null, |v| Json::String(v.to_string())),
        Value::Array(_, v) => v.map_or(Json::Null, |v| Json::Array(v.into_iter().map(recorded).collect())),
        // Types of SeaORM features that aren't compiled in here; a user's build may add some.
        other => Json::String(format!("{other:?}")),
    }
}

fn signed(value: i64) -> Json {
    if value.unsigned_abs() > MAX_EXACT_INTEGER {
        Json::String(value.to_string())
    } else {
        json!(value)
    }
}

fn unsigned(value: u64) -> Json {
    if value > MAX_EXACT_INTEGER {
        Json::String(value.to_string())
    } else {
        json!(value)
    }
}

fn float(value: f64, shown: &impl ToString) -> Json {
    // Use the shortest text, so that an f32 0.1 is 0.1 and not 0.10000000149011612.
    let text = shown.to_string();
    if value.is_finite() {
        text.parse::<serde_json::Number>()
            .map_or(Json::String(text), Json::Number)
    } else {
        Json::String(text)
    }
}

fn instant<Tz: TimeZone>(at: DateTime<Tz>) -> Json {
    Json::String(at.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Returns whether two values of one column are equal for the database: 44.00 and 44.0, one instant in two zones,
/// timestamps that differ by less than PostgreSQL's microsecond, `1` and `1.0` in JSON, two NaNs.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    if let (Some(a), Some(b)) = (instant_of(a), instant_of(b)) {
        return a.timestamp_micros() == b.timestamp_micros();
    }
    match (a, b) {
        (Value::Json(Some(a)), Value::Json(Some(b))) => json_same(a, b),
        (Value::Array(_, Some(a)), Value::Array(_, Some(b))) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b))
        }
        (Value::ChronoTime(Some(a)), Value::ChronoTime(Some(b))) => {
            let micros = |time: &NaiveTime| (time.num_seconds_from_midnight(), time.nanosecond() / 1_000);
            micros(a) == micros(b)
        }
        (Value::Float(Some(a)), Value::Float(Some(b))) => a == b || a.is_nan() && b.is_nan(),
        (Value::Double(Some(a)), Value::Double(Some(b))) => a == b || a.is_nan() && b.is_nan(),
        _ => a == b,
    }
}

/// Returns whether two values are equal as jsonb: numbers by their value, objects in any order of their fields.
pub(super) fn json_same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || number_same(&a.to_string(), &b.to_string()),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| json_same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| json_same(a, b)))
        }
        _ => a == b,
    }
}

/// Compares numbers by their digits: two numbers that are equal as doubles may differ in the database.
fn number_same(a: &str, b: &str) -> bool {
    match (NormalizedNumber::parse(a), NormalizedNumber::parse(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A number as its digits without zeros at either end, and the power of ten of the last digit.
#[derive(Debug, PartialEq, Eq)]
struct NormalizedNumber {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl NormalizedNumber {
    /// Parses a number as JSON writes it; returns `None` if its exponent does not fit an `i64`.
    fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i64 = exponent.parse().ok()?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self {
                is_negative: false,
                digits: String::new(),
                exponent: 0,
            });
        }
        let zeros = all.len() - all.trim_end_matches('0').len();
        let shift = i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
        Some(Self {
            is_negative,
            digits: digits.to_owned(),
            exponent: exponent.checked_add(shift)?,
        })
    }
}

fn instant_of(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::ChronoDateTime(v) => v.map(|v| v.and_utc()),
        Value::ChronoDateTimeUtc(v) => *v,
        Value::ChronoDateTimeLocal(v) => v.map(|v| v.with_timezone(&Utc)),
        Value::ChronoDateTimeWithTimeZone(v) => v.map(|v| v.with_timezone(&Utc)),
        _ => None,
    }
}

/// Refuses a value that can't be stored or recorded, before a statement fails on it: U+0000, which PostgreSQL can't
/// store in text or JSON; JSON that is too deep for its event to be read; a timestamp outside the years 0001 to 9999,
/// which RFC 3339 can't write; and an integer larger than PostgreSQL's, on which the driver panics.
///
/// # Errors
/// [`Error::Invalid`] that names the field.
pub(super) fn refuse_unstorable(field: &str, value: &Value) -> Result<()> {
    let can_be_written = match value {
        Value::ChronoDate(Some(day)) => is_writable(day),
        other => instant_of(other).is_none_or(|at| is_writable(&at)),
    };
    if !can_be_written {
        return Err(Error::invalid(field, MUST_BE_WRITABLE));
    }
    if matches!(value, Value::BigUnsigned(Some(number)) if i64::try_from(*number).is_err()) {
        return Err(Error::invalid(field, format!("must be at most {}", i64::MAX)));
    }
    let has_nul = match value {
        Value::String(Some(text)) => text.contains('\0'),
        Value::Char(Some(c)) => *c == '\0',
        Value::Json(Some(json)) => {
            refuse_too_deep(field, json)?;
            json_has_nul(json)
        }
        Value::Array(_, Some(items)) => return items.iter().try_for_each(|item| refuse_unstorable(field, item)),
        _ => false,
    };
    if has_nul {
        return Err(Error::invalid(
            field,
            "contains U+0000, which can't be stored; leave it out",
        ));
    }
    Ok(())
}

/// Refuses the placeholder that a model has in place of JSON that can't be read.
///
/// # Errors
/// [`Error::Invalid`] that names the field.
pub(super) fn refuse_placeholder(field: &str, value: &Value) -> Result<()> {
    match value {
        Value::Json(Some(json)) if Unreadable::is_placeholder(json) => Err(Error::invalid(field, WRITES_PLACEHOLDER)),
        _ => Ok(()),
    }
}

pub(super) fn json_has_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(json_has_nul),
        Json::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || json_has_nul(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_compared_as_jsonb_compares_it() {
        let parse = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        for (a, b) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("-0.0", "0"),
            ("0.10", "0.1"),
            (r#"{"a":1,"b":[2,{"c":3}]}"#, r#"{"b":[2.0,{"c":3e0}],"a":1.0}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ] {
            assert!(json_same(&parse(a), &parse(b)), "{a} {b}");
        }
        for (a, b) in [
            ("1", "1.1"),
            ("1", "-1"),
            ("1", "\"1\""),
            ("10", "1"),
            ("0", "null"),
            // Equal as doubles, but two numbers.
            ("18446744073709551615", "18446744073709551616"),
            ("9007199254740993", "9007199254740992.0"),
            ("[1,2]", "[2,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
        ] {
            assert!(!json_same(&parse(a), &parse(b)), "{a} {b}");
        }
        assert!(number_same("12345678901234567890.10", "1234567890123456789010e-2"));
        assert!(!number_same("0.12345678901234567890", "0.12345678901234567891"));
    }

    #[test]
    fn timestamps_that_rfc_3339_cant_write_are_refused() {
        let at = |text: &str| Value::from(DateTime::parse_from_rfc3339(text).unwrap());
        let day = |year| Value::from(chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap());
        for value in [
            at("0001-01-01T00:00:00Z"),
            at("9999-12-31T23:59:59Z"),
            day(1),
            day(9999),
        ] {
            assert!(refuse_unstorable("at", &value).is_ok(), "{value:?}");
        }
        for value in [
            // In UTC these are in the years 0 and 10000.
            at("0001-01-01T00:00:00+01:00"),
            at("9999-12-31T23:59:59-01:00"),
            day(0),
            day(10_000),
            Value::from(DateTime::<Utc>::MAX_UTC),
            Value::from(chrono::NaiveDateTime::MIN),
            Value::from(vec![chrono::NaiveDate::MAX]),
            Value::from(u64::MAX),
        ] {
            assert!(refuse_unstorable("at", &value).is_err(), "{value:?}");
        }
    }
}
