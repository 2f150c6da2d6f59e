//! Column values as they are recorded, and the one comparison that decides whether a field changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use sea_orm::Value;
use sea_orm::sea_query::OptionEnum;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::json::{MAX_JSON_DEPTH, Unreadable, is_too_deep, refuse_too_deep};

/// The largest integer that every JSON reader keeps exactly (2^53−1).
const MAX_EXACT: u64 = (1 << 53) - 1;

/// A column's value as events record it.
///
/// Decimals are strings, with the digits that the database holds. Integers are numbers up to 2^53−1 and
/// strings beyond. Instants are RFC 3339 in UTC with microseconds. Bytes are base64. Numbers that JSON
/// doesn't know (NaN, infinities) are strings.
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
        Value::Json(v) => v.map_or(Json::Null, |v| match is_too_deep(&v, MAX_JSON_DEPTH) {
            // Only what was written by SQL, since the helpers refuse it: its event must be readable all the same.
            true => Unreadable::TOO_DEEP.placeholder(),
            false => *v,
        }),
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
    if value.unsigned_abs() > MAX_EXACT {
        Json::String(value.to_string())
    } else {
        json!(value)
    }
}

fn unsigned(value: u64) -> Json {
    if value > MAX_EXACT {
        Json::String(value.to_string())
    } else {
        json!(value)
    }
}

fn float(value: f64, shown: &impl ToString) -> Json {
    // By its shortest text, so that an f32 0.1 is 0.1 and not 0.10000000149011612.
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

/// Whether two values of one column are the same to the database: 44.00 and 44.0, one instant in two zones,
/// instants that differ below the microsecond that PostgreSQL keeps.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (instant_of(a), instant_of(b)) {
        (Some(a), Some(b)) => a.timestamp_micros() == b.timestamp_micros(),
        _ => a == b,
    }
}

fn instant_of(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::ChronoDateTimeUtc(v) => *v,
        Value::ChronoDateTimeLocal(v) => v.map(|v| v.with_timezone(&Utc)),
        Value::ChronoDateTimeWithTimeZone(v) => v.map(|v| v.with_timezone(&Utc)),
        _ => None,
    }
}

/// Refuses U+0000, which PostgreSQL can't store in text or JSON, before a statement fails on it; and JSON that is too
/// deep for its event to be read.
///
/// # Errors
/// [`Error::Invalid`] that names the field.
pub(super) fn refuse_unstorable(field: &str, value: &Value) -> Result<()> {
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
