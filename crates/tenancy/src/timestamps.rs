//! Handles dates and times that PostgreSQL can store, but that chrono can't represent or RFC 3339 can't write:
//! `infinity`, and years outside 0001 to 9999.
//!
//! sqlx adds the value to an epoch, which panics if the result is outside chrono's range. And a year after 9999 is not
//! RFC 3339, so clients can't read it. A query that returns such values runs again, and then returns the nearest value
//! that RFC 3339 can write (`replaced`). A statement that changes rows must not run twice, so it fails
//! ([`readable`]).

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, PgValueFormat, Postgres};
use sqlx::{Column as _, Encode, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::quoted::quoted;
use crate::error::OutOfYears;

/// The first timestamp that RFC 3339 can write, in a form that PostgreSQL reads for each of its types.
pub const MIN_TIMESTAMP: &str = "'0001-01-01 00:00:00+00'";
/// The last timestamp that RFC 3339 can write.
pub const MAX_TIMESTAMP: &str = "'9999-12-31 23:59:59.999999+00'";

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0001-01-01, in days since PostgreSQL's epoch, 2000-01-01.
const FIRST_DAY: i64 = -730_119;
/// PostgreSQL's epoch, in microseconds since 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// 10000-01-01.
const END_DAY: i64 = 2_921_940;
/// The number of days from PostgreSQL's epoch that can be read. It is well within chrono's years, −262143 to 262142.
const READABLE_DAYS: i64 = 94_000_000;

/// The years that RFC 3339 can write.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// The detail of the error for a timestamp outside these years.
pub const MUST_BE_WRITABLE: &str = "must be in the years 0001 to 9999, in UTC";

/// Returns whether RFC 3339 can write a timestamp or a day. A timestamp must be in UTC.
pub fn is_writable(at: &impl Datelike) -> bool {
    YEARS.contains(&at.year())
}

/// How far a value is from the values that RFC 3339 can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Within,
    /// RFC 3339 can't write it.
    Beyond,
    /// Reading it panics.
    Unreadable,
}

/// A column that holds timestamps.
#[derive(Debug, Clone, Copy)]
struct TimestampColumn {
    index: usize,
    /// Whether the values are days; otherwise microseconds.
    are_days: bool,
    are_lists: bool,
}

/// A timestamp as the key of a page: any that `timestamptz` can store, in microseconds since PostgreSQL's epoch.
///
/// A cursor must name the stored timestamp, not the nearest one that can be written: otherwise the next page would
/// leave out the other rows of that timestamp. In JSON it is RFC 3339 if that format can write it, and otherwise the
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampKey(i64);

impl TimestampKey {
    /// `infinity`.
    pub const LAST: Self = Self(i64::MAX);
    /// The timestamps that PostgreSQL can store, from 4714 BC to 294276.
    const FINITE: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

    /// Reads the result of `timestamptz_send`.
    pub fn from_sent(bytes: &[u8]) -> Result<Self, std::array::TryFromSliceError> {
        Ok(Self(i64::from_be_bytes(bytes.try_into()?)))
    }

    /// Returns the timestamp, if RFC 3339 can write it.
    fn written(self) -> Option<DateTime<Utc>> {
        let micros = self.0.checked_add(EPOCH_MICROS)?;
        DateTime::from_timestamp_micros(micros).filter(is_writable)
    }
}

impl Serialize for TimestampKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.written() {
            Some(at) => at.serialize(serializer),
            None => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TimestampKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Key {
            Written(DateTime<Utc>),
            Micros(i64),
        }
        match Key::deserialize(deserializer)? {
            Key::Written(at) => Ok(Self(at.timestamp_micros() - EPOCH_MICROS)),
            Key::Micros(micros) if Self::FINITE.contains(&micros) || [i64::MIN, i64::MAX].contains(&micros) => {
                Ok(Self(micros))
            }
            Key::Micros(_) => Err(serde::de::Error::custom("the moment is out of range")),
        }
    }
}

impl Type<Postgres> for TimestampKey {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for TimestampKey {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }
}

/// Returns the rows if all of them can be read.
pub fn readable(rows: Vec<PgRow>) -> Result<Vec<PgRow>, sqlx::Error> {
    let columns = timestamp_columns(&rows);
    for row in &rows {
        for column in &columns {
            let index = column.index;
            if distance(row, column) == Distance::Unreadable {
                return Err(sqlx::Error::ColumnDecode {
                    index: row.column(index).name().to_owned(),
                    source: Box::new(OutOfYears),
                });
            }
        }
    }
    Ok(rows)
}

/// Returns the columns with values that RFC 3339 can't write, each with the SQL that replaces it.
///
/// Lists are not replaced: a value in one that can't be read is an error.
pub(super) fn replaced(rows: &[PgRow]) -> Vec<(usize, String)> {
    let columns = timestamp_columns(rows)
        .into_iter()
        .filter(|column| !column.are_lists && rows.iter().any(|row| distance(row, column) > Distance::Within));
    let with_name = columns.filter_map(|column| {
        let name = rows.first()?.columns().get(column.index)?.name();
        Some((column.index, clamped(&quoted(name))))
    });
    with_name.collect()
}

/// Returns SQL for the timestamp that is nearest to an expression's and that RFC 3339 can write.
pub fn clamped(expression: &str) -> String {
    format!(
        "CASE WHEN {expression} > {MAX_TIMESTAMP} THEN {MAX_TIMESTAMP} WHEN {expression} < {MIN_TIMESTAMP} THEN {MIN_TIMESTAMP} \
         ELSE {expression} END"
    )
}

/// Returns the columns that hold timestamps. All rows of a result have the same columns.
fn timestamp_columns(rows: &[PgRow]) -> Vec<TimestampColumn> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let columns = first.columns().iter().enumerate();
    columns
        .filter_map(|(index, column)| {
            let name = column.type_info().name();
            let element = name.strip_suffix("[]");
            let are_days = match element.unwrap_or(name) {
                "TIMESTAMPTZ" | "TIMESTAMP" => false,
                "DATE" => true,
                _ => return None,
            };
            Some(TimestampColumn {
                index,
                are_days,
                are_lists: element.is_some(),
            })
        })
        .collect()
}

/// Returns the largest distance in a field. Null counts as writable, and so does a value in text format, because
/// reading it doesn't panic.
fn distance(row: &PgRow, column: &TimestampColumn) -> Distance {
    let bytes = match row.try_get_raw(column.index) {
        Ok(value) if !value.is_null() && value.format() == PgValueFormat::Binary => value.as_bytes(),
        _ => return Distance::Within,
    };
    let bytes = bytes.unwrap_or_default();
    if !column.are_lists {
        return distance_of(bytes, column.are_days);
    }
    let elements = elements(bytes).into_iter();
    elements
        .map(|element| distance_of(element, column.are_days))
        .max()
        .unwrap_or(Distance::Within)
}

fn distance_of(bytes: &[u8], is_day: bool) -> Distance {
    let days = if is_day {
        bytes.try_into().map(|bytes| i64::from(i32::from_be_bytes(bytes)))
    } else {
        bytes
            .try_into()
            .map(|bytes| i64::from_be_bytes(bytes).div_euclid(MICROS_PER_DAY))
    };
    match days {
        Ok(days) if days.abs() > READABLE_DAYS => Distance::Unreadable,
        Ok(days) if !(FIRST_DAY..END_DAY).contains(&days) => Distance::Beyond,
        _ => Distance::Within,
    }
}

/// Returns the elements of an array in PostgreSQL's binary format: the number of dimensions, flags, the elements' type,
/// a length and a lower bound per dimension, and each element with its length, which is −1 for null.
fn elements(array: &[u8]) -> Vec<&[u8]> {
    let number = |at: usize| -> Option<usize> {
        let bytes = array.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(i32::from_be_bytes(bytes)).ok()
    };
    let mut elements = Vec::new();
    let mut at = 12 + 8 * number(0).unwrap_or_default();
    while at + 4 <= array.len() {
        let length = number(at).unwrap_or_default();
        elements.extend(array.get(at + 4..at + 4 + length).filter(|element| !element.is_empty()));
        at += 4 + length;
    }
    elements
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    #[test]
    fn the_bounds_are_those_of_rfc_3339() {
        let day = |year| {
            let epoch = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap();
            (NaiveDate::from_ymd_opt(year, 1, 1).unwrap() - epoch).num_days()
        };
        assert_eq!((day(1), day(10_000)), (FIRST_DAY, END_DAY));
        let epoch = DateTime::from_timestamp_micros(EPOCH_MICROS).unwrap();
        assert_eq!(epoch.to_rfc3339(), "2000-01-01T00:00:00+00:00");
        assert!(READABLE_DAYS < day(262_142) && -READABLE_DAYS > day(-262_143));
        assert_eq!(distance_of(&i64::MAX.to_be_bytes(), false), Distance::Unreadable);
        assert_eq!(distance_of(&i64::MIN.to_be_bytes(), false), Distance::Unreadable);
        assert_eq!(distance_of(&i32::MIN.to_be_bytes(), true), Distance::Unreadable);
        assert_eq!(distance_of(&3_000_000_i32.to_be_bytes(), true), Distance::Beyond);
        assert_eq!(distance_of(&(-1_i64).to_be_bytes(), false), Distance::Within);
    }

    #[test]
    fn a_key_names_every_timestamp_exactly() {
        let json = |micros: i64| serde_json::to_string(&TimestampKey(micros)).unwrap();
        assert_eq!(json(1), "\"2000-01-01T00:00:00.000001Z\"");
        let first = FIRST_DAY * MICROS_PER_DAY;
        let end = END_DAY * MICROS_PER_DAY;
        assert_eq!(json(first), "\"0001-01-01T00:00:00Z\"");
        assert_eq!((json(first - 1), json(end)), ((first - 1).to_string(), end.to_string()));
        let last = TimestampKey::FINITE.end - 1;
        for micros in [
            i64::MIN,
            TimestampKey::FINITE.start,
            first - 1,
            first,
            0,
            end - 1,
            end,
            last,
            i64::MAX,
        ] {
            let read: TimestampKey = serde_json::from_str(&json(micros)).unwrap();
            assert_eq!(read, TimestampKey(micros));
            assert_eq!(TimestampKey::from_sent(&micros.to_be_bytes()).unwrap(), read);
        }
        for wrong in [
            i64::MIN + 1,
            TimestampKey::FINITE.start - 1,
            TimestampKey::FINITE.end,
            i64::MAX - 1,
        ] {
            assert!(
                serde_json::from_str::<TimestampKey>(&wrong.to_string()).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_array_is_taken_apart() {
        // One dimension with three elements: 1, null, infinity.
        let numbers = [1, 1, 1082, 3, 1, 4, 1, -1, 4, i32::MAX];
        let array: Vec<u8> = numbers.iter().flat_map(|number: &i32| number.to_be_bytes()).collect();
        assert_eq!(
            elements(&array),
            [&1_i32.to_be_bytes()[..], &i32::MAX.to_be_bytes()[..]]
        );
        assert!(elements(&[0; 12]).is_empty() && elements(&[]).is_empty());
    }
}
