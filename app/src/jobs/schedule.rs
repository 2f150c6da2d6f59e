//! Parses crontab schedules, and converts them for the queue.
//!
//! The queue's own syntax differs from crontab's. Its weekdays count from Monday, so `0` never matches. Its steps count
//! from another start. Both fields for days must match. So a schedule is parsed here ([`croner`]), and the queue
//! receives only numbers.

use croner::parser::{CronParser, Seconds, Year};
use graphile_worker::{CrontabTimer, CrontabValue};

/// Describes a field of a schedule.
struct Field {
    name: &'static str,
    /// Its possible values, for messages.
    range: &'static str,
    /// Whether it allows names, such as `SUN` or `JAN`.
    names: bool,
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        range: "0 to 59",
        names: false,
    },
    Field {
        name: "hour",
        range: "0 to 23",
        names: false,
    },
    Field {
        name: "day of the month",
        range: "1 to 31",
        names: false,
    },
    Field {
        name: "month",
        range: "1 to 12 or JAN to DEC",
        names: true,
    },
    Field {
        name: "day of the week",
        range: "0 to 7 or SUN to SAT (0 and 7 are Sunday)",
        names: true,
    },
];

/// The maximum number of days of each month, from January.
const DAYS_IN_MONTH: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Parses a schedule into one or two timers of the queue. No two timers match the same minute.
///
/// As in crontab, a minute matches if its minute, hour, month and day match. If both fields for days are restricted
/// (neither begins with `*`), one of the two must match; otherwise both.
///
/// # Errors
/// A text that says which field is invalid, why, and what is allowed.
pub(super) fn timers(schedule: &str) -> Result<Vec<CrontabTimer>, String> {
    let schedule = schedule.trim();
    if schedule.contains(['\n', '\r']) {
        return Err(format!("must be one line: {}", expected_form()));
    }
    let fields: Vec<&str> = match nickname(schedule)? {
        Some(fields) => fields.split(' ').collect(),
        None => schedule.split_whitespace().collect(),
    };
    let &[minutes, hours, days, months, weekdays] = fields.as_slice() else {
        return Err(format!("has {} fields: {}", fields.len(), expected_form()));
    };
    let either_day = !days.starts_with('*') && !weekdays.starts_with('*');
    let days = values(2, days)?;
    let weekdays = values(4, weekdays)?;
    let timer = CrontabTimer {
        minutes: numbers(&values(0, minutes)?, 60),
        hours: numbers(&values(1, hours)?, 24),
        days: numbers(&days, 31),
        months: numbers(&values(3, months)?, 12),
        dows: numbers(&from_monday(&weekdays), 7),
    };
    if !either_day {
        return check_days_exist(timer, &days, months).map(|timer| vec![timer]);
    }
    // One timer for the days of the month, on any weekday; the other for the remaining days, by weekday.
    let others: Vec<u32> = (1..=31).filter(|day| !days.contains(day)).collect();
    let by_weekday = CrontabTimer {
        days: numbers(&others, 31),
        ..timer.clone()
    };
    let by_day = CrontabTimer {
        dows: vec![CrontabValue::Any],
        ..timer
    };
    Ok(match others.is_empty() {
        true => vec![by_day],
        false => vec![by_day, by_weekday],
    })
}

/// Returns the five fields that a nickname stands for.
fn nickname(schedule: &str) -> Result<Option<&'static str>, String> {
    if !schedule.starts_with('@') {
        return Ok(None);
    }
    match schedule.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok(Some("0 0 1 1 *")),
        "@monthly" => Ok(Some("0 0 1 * *")),
        "@weekly" => Ok(Some("0 0 * * 0")),
        "@daily" | "@midnight" => Ok(Some("0 0 * * *")),
        "@hourly" => Ok(Some("0 * * * *")),
        _ => Err(format!(
            "unknown schedule {schedule}: use @hourly, @daily (@midnight), @weekly, @monthly or @yearly (@annually)"
        )),
    }
}

fn expected_form() -> String {
    let names = FIELDS.map(|field| field.name).join(", ");
    format!("a schedule is {names}, such as \"0 4 * * *\", or a nickname, such as @daily")
}

/// Returns the values that a field allows. `index` is its position in [`FIELDS`].
fn values(index: usize, text: &str) -> Result<Vec<u32>, String> {
    let Field { name, range, names } = &FIELDS[index];
    let wrong = |why: &str| {
        Err(format!(
            "the {name} is {text:?}: {why}; allowed are {range}, *, and lists, ranges and steps of these, such as 1,5, \
             8-18 or 8-18/2"
        ))
    };
    if let Some(other) = text
        .chars()
        .find(|c| !(c.is_ascii_digit() || "*,-/".contains(*c) || *names && c.is_ascii_alphabetic()))
    {
        return wrong(&format!("{other:?} is not allowed"));
    }
    if text.split(',').any(str::is_empty) {
        return wrong("an element of the list is missing");
    }
    // The other fields match everything, so an error can only come from this one.
    let mut pattern_fields = ["*"; 5];
    pattern_fields[index] = text;
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let pattern = match parser.parse(&pattern_fields.join(" ")) {
        Ok(cron) => cron.pattern,
        Err(error) => {
            let text = error.to_string();
            let why = text.strip_prefix("Component error: ").unwrap_or(&text);
            return wrong(why.trim_end_matches('.'));
        }
    };
    let component = match index {
        0 => &pattern.minutes,
        1 => &pattern.hours,
        2 => &pattern.days,
        3 => &pattern.months,
        _ => &pattern.days_of_week,
    };
    if component.has_modifiers() {
        return wrong("L, W and # are not allowed");
    }
    let values: Vec<u32> = component.values().into_iter().map(u32::from).collect();
    match values.is_empty() {
        true => wrong("nothing matches it"),
        false => Ok(values),
    }
}

/// Converts weekdays to the queue's numbers: Monday is 1 and Sunday 7.
fn from_monday(weekdays: &[u32]) -> Vec<u32> {
    let mut days: Vec<u32> = weekdays.iter().map(|day| if *day == 0 { 7 } else { *day }).collect();
    days.sort_unstable();
    days.dedup();
    days
}

fn numbers(values: &[u32], all: usize) -> Vec<CrontabValue> {
    if values.len() == all {
        return vec![CrontabValue::Any];
    }
    values.iter().copied().map(CrontabValue::Number).collect()
}

/// Refuses a timer that never runs, because none of its months has one of its days.
fn check_days_exist(timer: CrontabTimer, days: &[u32], months: &str) -> Result<CrontabTimer, String> {
    let longest = values(3, months)?
        .into_iter()
        .filter_map(|month| DAYS_IN_MONTH.get(usize::try_from(month).ok()? - 1).copied())
        .max();
    match (days.first(), longest) {
        (Some(first), Some(longest)) if *first <= longest => Ok(timer),
        _ => Err(format!("would never run: no month of {months:?} has one of its days")),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDateTime, TimeDelta};

    use super::*;

    /// Returns the first five times from Sunday, 2026-11-01, and checks that no minute matches twice.
    fn first(schedule: &str) -> Vec<String> {
        let timers = timers(schedule).unwrap_or_else(|why| panic!("{schedule}: {why}"));
        let mut at: NaiveDateTime = "2026-11-01T00:00:00".parse().unwrap();
        let end = at + TimeDelta::days(800);
        let mut found = Vec::new();
        while found.len() < 5 && at < end {
            match timers.iter().filter(|timer| timer.should_run_at(&at)).count() {
                0 => {}
                1 => found.push(at.format("%a %m-%d %H:%M").to_string()),
                more => panic!("{schedule}: {more} runs at {at}"),
            }
            at += TimeDelta::minutes(1);
        }
        found
    }

    #[test]
    fn sunday_is_0_and_7_and_sun() {
        let sundays = [
            "Sun 11-01 00:00",
            "Sun 11-08 00:00",
            "Sun 11-15 00:00",
            "Sun 11-22 00:00",
            "Sun 11-29 00:00",
        ];
        for schedule in [
            "0 0 * * 7",
            "0 0 * * 0",
            "0 0 * * SUN",
            "0 0 * * sun",
            "@weekly",
            "0 0 * * 0,7",
        ] {
            assert_eq!(first(schedule), sundays, "{schedule}");
        }
        assert_eq!(
            first("30 6 * * MON-FRI"),
            [
                "Mon 11-02 06:30",
                "Tue 11-03 06:30",
                "Wed 11-04 06:30",
                "Thu 11-05 06:30",
                "Fri 11-06 06:30"
            ]
        );
        assert_eq!(first("0 0 * * 5-7")[..2], ["Sun 11-01 00:00", "Fri 11-06 00:00"]);
    }

    #[test]
    fn ranges_steps_names_and_spaces_are_as_in_crontab() {
        assert_eq!(
            first("2-30/14 *   * * *"),
            [
                "Sun 11-01 00:02",
                "Sun 11-01 00:16",
                "Sun 11-01 00:30",
                "Sun 11-01 01:02",
                "Sun 11-01 01:16"
            ]
        );
        assert_eq!(
            first("  0\t12  1 JAN,jul * ")[..2],
            ["Fri 01-01 12:00", "Thu 07-01 12:00"]
        );
        assert_eq!(first("@hourly")[..2], ["Sun 11-01 00:00", "Sun 11-01 01:00"]);
        assert_eq!(first("@Daily"), first("@midnight"));
        assert_eq!(first("@annually")[0], "Fri 01-01 00:00");
        // The queue's own steps start elsewhere: in its syntax the first of these never runs.
        assert_eq!(first("0 0 */1 * *")[..2], ["Sun 11-01 00:00", "Mon 11-02 00:00"]);
        assert_eq!(
            first("0 0 */10 * *")[..4],
            [
                "Sun 11-01 00:00",
                "Wed 11-11 00:00",
                "Sat 11-21 00:00",
                "Tue 12-01 00:00"
            ]
        );
        assert_eq!(first("0 0 1 */6 *")[..2], ["Fri 01-01 00:00", "Thu 07-01 00:00"]);
    }

    #[test]
    fn if_both_day_fields_are_restricted_one_must_match() {
        // The 13th and every Friday; Friday the 13th once.
        assert_eq!(
            first("0 0 13 11 5"),
            [
                "Fri 11-06 00:00",
                "Fri 11-13 00:00",
                "Fri 11-20 00:00",
                "Fri 11-27 00:00",
                "Fri 11-05 00:00"
            ]
        );
        assert_eq!(first("0 0 1-31 * 5")[..2], ["Sun 11-01 00:00", "Mon 11-02 00:00"]);
        // A field that begins with `*` is not restricted.
        assert_eq!(first("0 0 */2 * 1")[..2], ["Mon 11-09 00:00", "Mon 11-23 00:00"]);
        assert_eq!(first("0 0 30 2 1")[..2], ["Mon 02-01 00:00", "Mon 02-08 00:00"]);
    }

    #[test]
    fn an_invalid_schedule_is_refused_with_its_field() {
        for (schedule, expected) in [
            ("*/0 * * * *", "the minute is \"*/0\": Step cannot be zero"),
            ("0 */0 * * *", "the hour is \"*/0\""),
            ("0 0 * * 1-5/0", "the day of the week is \"1-5/0\""),
            (
                "60 * * * *",
                "the minute is \"60\": Number out of bounds; allowed are 0 to 59",
            ),
            ("0 24 * * *", "the hour is \"24\""),
            ("0 0 0 * *", "the day of the month is \"0\""),
            ("0 0 * 13 *", "the month is \"13\""),
            ("0 0 * * 8", "the day of the week is \"8\""),
            ("0 SUN * * *", "the hour is \"SUN\": 'S' is not allowed"),
            ("0 0 L * *", "the day of the month is \"L\""),
            ("0 0 * * 5L", "the day of the week is \"5L\""),
            ("0 0 * * FOO", "the day of the week is \"FOO\""),
            ("0 0 ? * *", "the day of the month is \"?\""),
            (
                "1,,2 * * * *",
                "the minute is \"1,,2\": an element of the list is missing",
            ),
            (", * * * *", "the minute is \",\""),
            ("30-10 * * * *", "the minute is \"30-10\""),
            ("0 0 30 2 *", "would never run"),
            ("0 0 31 4,6,9,11 *", "would never run"),
            ("0 0 31 2-4/2 */2", "would never run"),
            ("@reboot", "@hourly, @daily (@midnight)"),
            (
                "0 4 * *",
                "has 4 fields: a schedule is minute, hour, day of the month, month, day of the week",
            ),
            ("0 0 4 * * *", "has 6 fields"),
            ("", "has 0 fields"),
            ("0 4 * * * note\n0 5 * * *", "must be one line"),
        ] {
            let why = timers(schedule).expect_err(schedule);
            assert!(why.contains(expected), "{schedule}: {why}");
        }
    }
}
