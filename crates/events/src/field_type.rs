//! The kind of value that a field holds, so that a page can show it accordingly.
//!
//! The recorded JSON is not enough: a decimal, an instant and a name are all strings there. So the type is that of the
//! entity's column. But an event can be older than the entity: the column may have changed its type since, or may be
//! gone. If the recorded values don't fit the column's type, or there is no column, the type is what the JSON shows. So
//! a value is never shown as something that it is not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use rust_decimal::Decimal;
use sea_orm::ColumnType;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::payload::is_json_null;
use super::values::json_same;
use daybook_tenancy::text::{cut, cut_apart};

/// The format of a timestamp, to the microsecond.
const PRECISE_FORMAT: &str = "%F %T%.f";
/// Sentences shorten values that have more graphemes than this; the event has the whole value.
const VALUE_LIMIT: usize = 80;

/// The kind of value that a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldType {
    /// Text; also every type that has no variant here, such as a network address.
    Text,
    /// An integer; a string above 2^53−1.
    Integer,
    /// A number that may be rounded; NaN and infinities as strings.
    Number,
    /// A number with all its digits, as a string.
    Decimal,
    /// True or false.
    Boolean,
    /// An instant: RFC 3339 in UTC.
    Timestamp,
    /// A date with a time, in a zone that is not recorded.
    Datetime,
    /// A date without a time.
    Date,
    /// A time of day.
    Time,
    /// A UUID.
    Uuid,
    /// Bytes, as base64.
    Bytes,
    /// A list of values.
    List,
    /// Any JSON.
    Json,
}

impl FieldType {
    /// Returns the type of an entity's column.
    pub(super) fn of_column(column: &ColumnType) -> Self {
        use ColumnType as C;
        match column {
            C::TinyInteger
            | C::SmallInteger
            | C::Integer
            | C::BigInteger
            | C::TinyUnsigned
            | C::SmallUnsigned
            | C::Unsigned
            | C::BigUnsigned
            | C::Year => Self::Integer,
            C::Float | C::Double => Self::Number,
            C::Decimal(_) | C::Money(_) => Self::Decimal,
            C::Boolean => Self::Boolean,
            // SeaORM's `Timestamp` is PostgreSQL's `timestamp` without a zone.
            C::TimestampWithTimeZone => Self::Timestamp,
            C::DateTime | C::Timestamp => Self::Datetime,
            C::Date => Self::Date,
            C::Time => Self::Time,
            C::Uuid => Self::Uuid,
            C::Blob | C::Binary(_) | C::VarBinary(_) => Self::Bytes,
            C::Array(_) => Self::List,
            C::Json | C::JsonBinary => Self::Json,
            _ => Self::Text,
        }
    }

    /// Returns the type that the JSON alone shows; `None` for null.
    fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Bool(_) => Some(Self::Boolean),
            Value::Number(number) if number.is_f64() => Some(Self::Number),
            Value::Number(_) => Some(Self::Integer),
            Value::String(_) => Some(Self::Text),
            Value::Array(_) => Some(Self::List),
            Value::Object(_) => Some(Self::Json),
        }
    }

    /// Returns the type of values of one field: the column's type if all of them fit it, else the type that they show.
    pub(super) fn of(column: Option<Self>, values: &[&Value]) -> Self {
        let fitting = |of: &Self| values.iter().all(|value| of.fits(value));
        // Only the database knows whether it keeps an instant with its zone; the name in SeaORM is misleading.
        let column_or_like = match column {
            Some(Self::Datetime) => [column, Some(Self::Timestamp)],
            _ => [column, None],
        };
        if let Some(of) = column_or_like.into_iter().flatten().find(fitting) {
            return of;
        }
        let mut shown = values.iter().filter_map(|value| Self::of_json(value));
        match (shown.next(), shown.next()) {
            (Some(one), None) => one,
            (Some(one), Some(other)) if one == other => one,
            (None, _) => column.unwrap_or(Self::Text),
            _ => Self::Json,
        }
    }

    /// Returns whether the value could have been recorded for a column of this type.
    fn fits(self, value: &Value) -> bool {
        if value.is_null() {
            return true;
        }
        let text = value.as_str();
        match self {
            Self::Text => text.is_some(),
            Self::Integer => value.is_i64() || value.is_u64() || text.is_some_and(|text| text.parse::<i128>().is_ok()),
            Self::Number => value.is_number() || text.is_some_and(|text| text.parse::<f64>().is_ok()),
            Self::Decimal => decimal(value).is_some(),
            Self::Boolean => value.is_boolean(),
            Self::Timestamp => text.is_some_and(|text| DateTime::parse_from_rfc3339(text).is_ok()),
            Self::Datetime => text.is_some_and(|text| text.parse::<NaiveDateTime>().is_ok()),
            Self::Date => text.is_some_and(|text| text.parse::<NaiveDate>().is_ok()),
            Self::Time => text.is_some_and(|text| text.parse::<NaiveTime>().is_ok()),
            Self::Uuid => text.is_some_and(|text| uuid::Uuid::try_parse(text).is_ok()),
            Self::Bytes => text.is_some_and(|text| STANDARD.decode(text).is_ok()),
            Self::List => value.is_array(),
            Self::Json => true,
        }
    }

    /// Returns whether two values of this type are equal for the database: 44.0 is 44.00.
    pub(super) fn same(self, one: &Value, other: &Value) -> bool {
        match (self, decimal(one), decimal(other)) {
            (Self::Decimal, Some(one), Some(other)) => one == other,
            _ => json_same(one, other),
        }
    }

    /// Returns a value as people read it.
    pub(super) fn shown(self, value: &Value) -> String {
        cut(&self.words(value), VALUE_LIMIT).into_owned()
    }

    /// Returns two values as people read them, so that different values look different. If their texts are the same, it
    /// shows them from the place where they differ, then with fractions of seconds, then as JSON.
    pub(super) fn shown_apart(self, one: &Value, other: &Value) -> (String, String) {
        let forms: [fn(Self, &Value) -> String; 3] = [Self::words, Self::precise_words, |_, value| value.to_string()];
        let mut shown = (self.shown(one), self.shown(other));
        for form in forms {
            if shown.0 != shown.1 || one == other {
                break;
            }
            shown = cut_apart(&form(self, one), &form(self, other), VALUE_LIMIT);
        }
        shown
    }

    /// Does the same as [`words`](Self::words), with the fractions of seconds.
    fn precise_words(self, value: &Value) -> String {
        let text = value.as_str().unwrap_or_default();
        match self {
            Self::Timestamp => match DateTime::parse_from_rfc3339(text) {
                Ok(at) => format!("{} UTC", at.with_timezone(&Utc).format(PRECISE_FORMAT)),
                Err(_) => self.words(value),
            },
            Self::Datetime => match text.parse::<NaiveDateTime>() {
                Ok(at) => at.format(PRECISE_FORMAT).to_string(),
                Err(_) => self.words(value),
            },
            _ => self.words(value),
        }
    }

    /// Returns a value as people read it, at its full length.
    fn words(self, value: &Value) -> String {
        match (self, value) {
            (_, value) if is_json_null(value) => "JSON null".to_owned(),
            (_, Value::Null) => "nothing".to_owned(),
            (_, Value::Bool(true)) => "yes".to_owned(),
            (_, Value::Bool(false)) => "no".to_owned(),
            (_, Value::String(text)) if text.is_empty() => "“”".to_owned(),
            (Self::Timestamp, Value::String(text)) => instant(text),
            (Self::Datetime, Value::String(text)) => text
                .parse::<NaiveDateTime>()
                .map_or_else(|_| text.clone(), |at| at.format(to_the_second(&at)).to_string()),
            (Self::Bytes, Value::String(text)) => STANDARD
                .decode(text)
                .map_or_else(|_| text.clone(), |bytes| format!("{} bytes", bytes.len())),
            (Self::List, Value::Array(items)) if items.is_empty() => "an empty list".to_owned(),
            (Self::List, Value::Array(items)) => items
                .iter()
                .map(|item| Self::of(None, &[item]).words(item))
                .collect::<Vec<_>>()
                .join(", "),
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        }
    }
}

/// Parses a number with all its digits, as events record decimals, or as a person may have written it.
fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::String(text) => Decimal::from_str_exact(text).ok(),
        Value::Number(number) => Decimal::from_str_exact(&number.to_string()).ok(),
        _ => None,
    }
}

/// Returns an instant as `2026-03-01 10:00 UTC`.
fn instant(text: &str) -> String {
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => {
            let at = at.with_timezone(&Utc);
            format!("{} UTC", at.format(to_the_second(&at)))
        }
        Err(_) => text.to_owned(),
    }
}

/// Returns a format with seconds only if they are not zero, and without fractions.
fn to_the_second(at: &impl Timelike) -> &'static str {
    if at.second() == 0 { "%F %H:%M" } else { "%F %T" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_columns_type_is_used_for_values_that_fit_it() {
        for (column, fitting, other, shows) in [
            (FieldType::Decimal, json!("44.00"), json!("cheap"), FieldType::Text),
            (
                FieldType::Integer,
                json!("9007199254740993"),
                json!(1.5),
                FieldType::Number,
            ),
            (FieldType::Number, json!("NaN"), json!("many"), FieldType::Text),
            (FieldType::Boolean, json!(true), json!("true"), FieldType::Text),
            (
                FieldType::Timestamp,
                json!("2026-03-01T10:00:00.000000Z"),
                json!("noon"),
                FieldType::Text,
            ),
            (
                FieldType::Datetime,
                json!("2026-03-01T10:00:00.000000"),
                json!("noon"),
                FieldType::Text,
            ),
            (FieldType::Date, json!("2026-03-01"), json!(3), FieldType::Integer),
            (FieldType::Time, json!("10:00:00"), json!("noon"), FieldType::Text),
            (FieldType::Bytes, json!("AQI="), json!("!"), FieldType::Text),
            (FieldType::List, json!(["a"]), json!({"a": 1}), FieldType::Json),
            (FieldType::Text, json!("a"), json!(["a"]), FieldType::List),
        ] {
            assert_eq!(FieldType::of(Some(column), &[&fitting, &Value::Null]), column);
            assert_eq!(
                FieldType::of(Some(column), &[&other]),
                shows,
                "{other} does not fit {column:?}"
            );
        }
    }

    #[test]
    fn without_a_column_the_type_comes_from_the_json() {
        let of = |old: Value, new: Value| FieldType::of(None, &[&old, &new]);
        assert_eq!(of(json!("1"), json!(null)), FieldType::Text);
        assert_eq!(of(json!(1), json!(2)), FieldType::Integer);
        assert_eq!(of(json!(1), json!("2")), FieldType::Json);
        assert_eq!(of(json!(null), json!(null)), FieldType::Text);
    }

    #[test]
    fn values_are_shown_by_their_type() {
        for (of, value, shown) in [
            (FieldType::Boolean, json!(true), "yes"),
            (FieldType::Decimal, json!("250.00"), "250.00"),
            (
                FieldType::Timestamp,
                json!("2026-03-01T10:00:00.000000Z"),
                "2026-03-01 10:00 UTC",
            ),
            (
                FieldType::Timestamp,
                json!("2026-03-01T10:00:07.120000Z"),
                "2026-03-01 10:00:07 UTC",
            ),
            (
                FieldType::Datetime,
                json!("2026-03-01T10:00:00.000000"),
                "2026-03-01 10:00",
            ),
            (FieldType::Bytes, json!("AQID"), "3 bytes"),
            (FieldType::List, json!(["a", 1, true]), "a, 1, yes"),
            (FieldType::List, json!([]), "an empty list"),
            (FieldType::Json, json!({"a": [1]}), "{\"a\":[1]}"),
            (FieldType::Text, json!(""), "“”"),
            (FieldType::Integer, json!(null), "nothing"),
        ] {
            assert_eq!(of.shown(&value), shown);
        }
    }

    #[test]
    fn values_that_differ_look_different() {
        let apart = |of: FieldType, one: Value, other: Value| {
            let (one, other) = of.shown_apart(&one, &other);
            format!("{one} → {other}")
        };
        let long = "words ".repeat(50);
        for (of, one, other, shown) in [
            (
                FieldType::List,
                json!(["a, b"]),
                json!(["a", "b"]),
                r#"["a, b"] → ["a","b"]"#,
            ),
            (
                FieldType::Timestamp,
                json!("2026-03-01T02:30:00.000000Z"),
                json!("2026-03-01T02:30:00.120000Z"),
                "2026-03-01 02:30:00 UTC → 2026-03-01 02:30:00.120 UTC",
            ),
            (
                FieldType::Datetime,
                json!("2026-03-01T02:30:07.000001"),
                json!("2026-03-01T02:30:07.000002"),
                "2026-03-01 02:30:07.000001 → 2026-03-01 02:30:07.000002",
            ),
            (
                FieldType::Json,
                json!(null),
                json!({"json_null": true}),
                "nothing → JSON null",
            ),
            (FieldType::Text, json!(null), json!("nothing"), r#"null → "nothing""#),
            (FieldType::Text, json!(""), json!("“”"), r#""" → "“”""#),
            (FieldType::Json, json!(true), json!("yes"), r#"true → "yes""#),
            (FieldType::Bytes, json!("AQID"), json!("AQIE"), r#""AQID" → "AQIE""#),
            (
                FieldType::List,
                json!([]),
                json!(["an empty list"]),
                r#"[] → ["an empty list"]"#,
            ),
            (
                FieldType::Text,
                json!(format!("{long}red")),
                json!(format!("{long}blue")),
                "…rds words red → …rds words blue",
            ),
            // Values that differ at the beginning stay as they are.
            (FieldType::Text, json!("a"), json!("b"), "a → b"),
            (FieldType::Integer, json!(null), json!(null), "nothing → nothing"),
        ] {
            assert_eq!(apart(of, one, other), shown);
        }
    }
}
