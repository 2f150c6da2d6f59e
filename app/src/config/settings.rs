//! Reads one setting after the other and collects what is wrong with them.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use super::secret_file::read_secret_file;

/// Names that begin with `DAYBOOK_` and mean something, to this module or to the command line.
const KNOWN: &[&str] = &[
    "DAYBOOK_ADVERTISE_URL",
    "DAYBOOK_ALLOWED_ORIGINS",
    "DAYBOOK_APP_URL",
    "DAYBOOK_BIND",
    "DAYBOOK_BLESS",
    "DAYBOOK_BODY_LIMIT",
    "DAYBOOK_BODY_TIMEOUT",
    "DAYBOOK_CONNECTIONS",
    "DAYBOOK_DATA_DIR",
    "DAYBOOK_DEPLOYMENT_ID",
    "DAYBOOK_DIRECT_URL",
    "DAYBOOK_ERASED_NAMES",
    "DAYBOOK_EVENT_HEADERS",
    "DAYBOOK_EVENT_SCHEMA",
    "DAYBOOK_HEADER_TIMEOUT",
    "DAYBOOK_IDLE_TIMEOUT",
    "DAYBOOK_JOBS",
    "DAYBOOK_JOB_GRACE",
    "DAYBOOK_JWT_AUDIENCE",
    "DAYBOOK_JWT_ISSUER",
    "DAYBOOK_JWT_PUBLIC_KEY",
    "DAYBOOK_JWT_SECRET",
    "DAYBOOK_KEEP_RUNS",
    "DAYBOOK_KEEP_SESSIONS",
    "DAYBOOK_LISTEN",
    "DAYBOOK_LIVE_SOCKETS",
    "DAYBOOK_LOG",
    "DAYBOOK_LOG_READERS",
    "DAYBOOK_LOST_AFTER",
    "DAYBOOK_MIGRATE",
    "DAYBOOK_OPEN_LOGS",
    "DAYBOOK_OPEN_RUNS",
    "DAYBOOK_PG_BIN",
    "DAYBOOK_POOL_SIZE",
    "DAYBOOK_REDACTION_KEY",
    "DAYBOOK_REDACTION_KEY_ID",
    "DAYBOOK_REGION",
    "DAYBOOK_REQUEST_TIMEOUT",
    "DAYBOOK_RUN_LINE_LIMIT",
    "DAYBOOK_RUN_LOG_LIMIT",
    "DAYBOOK_SAMPLE_RATE",
    "DAYBOOK_SAMPLE_ROUTES",
    "DAYBOOK_SEAL_RUNS",
    "DAYBOOK_SERVICE",
    "DAYBOOK_SLOW_MS",
    "DAYBOOK_STATEMENT_CACHE",
    "DAYBOOK_STORAGE_DIR",
    "DAYBOOK_STRICT_ROLES",
    "DAYBOOK_TEAM",
    "DAYBOOK_TEAM_LOG_READERS",
    "DAYBOOK_TEST_DATABASE_URL",
    "DAYBOOK_TOKEN",
    "DAYBOOK_URL",
    "DAYBOOK_WORKER_URL",
    "DAYBOOK_WRITE_TIMEOUT",
];

/// The settings whose values let somebody in: no program that is started needs them, and none is given them. `DATABASE_URL` is
/// not one of them: other programs have a database by that name, and are given it.
pub const CREDENTIALS: [&str; 6] = [
    "DAYBOOK_APP_URL",
    "DAYBOOK_DIRECT_URL",
    "DAYBOOK_JWT_SECRET",
    "DAYBOOK_REDACTION_KEY",
    "DAYBOOK_TOKEN",
    "DAYBOOK_WORKER_URL",
];

/// Settings that may be in a file: `<name>_FILE`. Those that [`Settings::secret`] reads.
const IN_FILES: &[&str] = &[
    "DAYBOOK_APP_URL_FILE",
    "DAYBOOK_DIRECT_URL_FILE",
    "DAYBOOK_JWT_PUBLIC_KEY_FILE",
    "DAYBOOK_JWT_SECRET_FILE",
    "DAYBOOK_REDACTION_KEY_FILE",
    "DAYBOOK_TOKEN_FILE",
    "DAYBOOK_WORKER_URL_FILE",
];

/// A text that must not be printed: `{:?}` shows `[secret]`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// One setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting {
    /// The variable's name.
    pub name: &'static str,
    /// Its value, unless it may hold a secret.
    pub value: Option<String>,
    /// What would be valid, as the rest of a sentence: `must be on or off`.
    pub problem: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value:?} {}", self.name, self.problem),
            None => write!(f, "{} {}", self.name, self.problem),
        }
    }
}

/// Every setting that is wrong, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the settings can't be used:{}", .0.iter().map(|bad| format!("\n  {bad}")).collect::<String>())]
pub struct BadSettings(pub Vec<BadSetting>);

/// Looks settings up and remembers the bad ones; a bad one reads as if it weren't set.
pub(super) struct Settings<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    bad: Vec<BadSetting>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            bad: Vec::new(),
        }
    }

    /// `config`, if all that was read for it was good.
    pub(super) fn finish<T>(self, config: T) -> Result<T, BadSettings> {
        if self.bad.is_empty() {
            Ok(config)
        } else {
            Err(BadSettings(self.bad))
        }
    }

    /// Any text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.parsed(name, |value| Ok(value.to_owned()))
    }

    /// `on` or `off`.
    pub(super) fn switch(&mut self, name: &'static str, default: bool) -> bool {
        self.parsed(name, |value| match value {
            _ if value.eq_ignore_ascii_case("on") => Ok(true),
            _ if value.eq_ignore_ascii_case("off") => Ok(false),
            _ => Err("must be on or off".to_owned()),
        })
        .unwrap_or(default)
    }

    /// A whole number within `range`.
    pub(super) fn number<N>(&mut self, name: &'static str, range: RangeInclusive<N>, default: N) -> N
    where
        N: std::str::FromStr + PartialOrd + fmt::Display,
    {
        self.parsed(name, |value| match value.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            )),
        })
        .unwrap_or(default)
    }

    /// Whatever `parse` makes of the value; its error is the rest of a sentence that begins with the name.
    pub(super) fn parsed<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.value(name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(problem) => {
                self.bad.push(BadSetting {
                    name,
                    value: Some(value),
                    problem,
                });
                None
            }
        }
    }

    /// Like [`Settings::parsed`] for a value that may hold a secret: it is named and never shown.
    ///
    /// It may be in a file instead, which `<name>_FILE` names.
    pub(super) fn secret<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = match (self.value(name), self.secret_in_file(name)) {
            (Some(_), Some(_)) => {
                self.refuse(name, format!("is set beside {name}_FILE: set one of the two"));
                return None;
            }
            (Some(value), None) => value,
            (None, Some(Ok(value))) => value,
            (None, Some(Err(problem))) => {
                self.refuse(name, problem);
                return None;
            }
            (None, None) => return None,
        };
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(problem) => {
                self.refuse(name, problem);
                None
            }
        }
    }

    /// Notes that `name` is wrong for a reason that its value alone doesn't show.
    pub(super) fn refuse(&mut self, name: &'static str, problem: impl Into<String>) {
        self.bad.push(BadSetting {
            name,
            value: None,
            problem: problem.into(),
        });
    }

    /// What the file holds that `<name>_FILE` names, or what is wrong with it.
    fn secret_in_file(&self, name: &str) -> Option<Result<String, String>> {
        let setting = format!("{name}_FILE");
        let path = (self.lookup)(&setting).filter(|path| !path.trim().is_empty())?;
        // How long it must be is known to whoever parses it.
        Some(read_secret_file(Path::new(path.trim()), 1).map_err(|error| format!("by {setting}: {error}")))
    }

    fn value(&mut self, name: &'static str) -> Option<String> {
        let value = (self.lookup)(name).filter(|value| !value.trim().is_empty())?;
        if value.contains('\u{FFFD}') {
            self.refuse(name, "must be UTF-8");
            return None;
        }
        Some(value)
    }
}

fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().chain(IN_FILES).copied()
}

/// A warning for each name that begins with `DAYBOOK_` and means nothing.
pub(super) fn unknown_names(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with("DAYBOOK_") && !known().any(|known| known == name))
        .collect();
    unknown.sort_unstable();
    unknown
        .into_iter()
        .map(|name| {
            match known()
                .map(|known| (distance(&name, known), known))
                .min()
                .filter(|(steps, _)| *steps <= 3)
            {
                Some((_, known)) => format!("{name} is not a setting; did you mean {known}?"),
                None => format!("{name} is not a setting"),
            }
        })
        .collect()
}

/// How many letters to add, drop or change to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let cost = (diagonal + usize::from(x != *y)).min(left + 1).min(*above + 1);
            diagonal = *above;
            *above = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_right_one() {
        let names = ["DAYBOOK_POOLSIZE", "DAYBOOK_BIND", "PATH", "DAYBOOK_SOMETHING_ELSE"].map(str::to_owned);
        assert_eq!(
            unknown_names(names.into_iter()),
            [
                "DAYBOOK_POOLSIZE is not a setting; did you mean DAYBOOK_POOL_SIZE?",
                "DAYBOOK_SOMETHING_ELSE is not a setting",
            ]
        );
    }
}
