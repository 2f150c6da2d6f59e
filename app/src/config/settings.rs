//! Reads single settings and collects their errors.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use super::secret_file::read_secret_file;

/// The `DAYBOOK_…` names that this module or the command line uses.
const KNOWN_NAMES: &[&str] = &[
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

/// The settings whose values give access. They are not passed to programs that Daybook starts, because no program needs
/// them. `DATABASE_URL` is not one of them: other programs use this name for their own database, so it is passed.
pub const CREDENTIALS: [&str; 6] = [
    "DAYBOOK_APP_URL",
    "DAYBOOK_DIRECT_URL",
    "DAYBOOK_JWT_SECRET",
    "DAYBOOK_REDACTION_KEY",
    "DAYBOOK_TOKEN",
    "DAYBOOK_WORKER_URL",
];

/// The `<name>_FILE` variants of the settings that [`Settings::secret`] reads.
const FILE_NAMES: &[&str] = &[
    "DAYBOOK_APP_URL_FILE",
    "DAYBOOK_DIRECT_URL_FILE",
    "DAYBOOK_JWT_PUBLIC_KEY_FILE",
    "DAYBOOK_JWT_SECRET_FILE",
    "DAYBOOK_REDACTION_KEY_FILE",
    "DAYBOOK_TOKEN_FILE",
    "DAYBOOK_WORKER_URL_FILE",
];

/// A string that must not be printed: `{:?}` shows `[secret]`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a string.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the string, for the code that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// One invalid setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting {
    /// The variable's name.
    pub name: &'static str,
    /// Its value, unless it may contain a secret.
    pub value: Option<String>,
    /// What would be valid, as a predicate for the name: `must be on or off`.
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

/// All invalid settings, one on each line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the settings can't be used:{}", .0.iter().map(|bad| format!("\n  {bad}")).collect::<String>())]
pub struct BadSettings(pub Vec<BadSetting>);

/// Looks settings up and collects the invalid ones. An invalid setting is treated as not set.
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

    /// Returns `config` if all settings were valid.
    pub(super) fn finish<T>(self, config: T) -> Result<T, BadSettings> {
        if self.bad.is_empty() {
            Ok(config)
        } else {
            Err(BadSettings(self.bad))
        }
    }

    /// Reads any text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.parsed(name, |value| Ok(value.to_owned()))
    }

    /// Reads `on` or `off`.
    pub(super) fn switch(&mut self, name: &'static str, default: bool) -> bool {
        self.parsed(name, |value| match value {
            _ if value.eq_ignore_ascii_case("on") => Ok(true),
            _ if value.eq_ignore_ascii_case("off") => Ok(false),
            _ => Err("must be on or off".to_owned()),
        })
        .unwrap_or(default)
    }

    /// Reads a whole number within `range`.
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

    /// Reads a value with `parse`. The error of `parse` is a predicate for the name: `must be on or off`.
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

    /// Like [`Settings::parsed`], for a value that may contain a secret: errors don't show it.
    ///
    /// The value may instead be in the file that `<name>_FILE` names.
    pub(super) fn secret<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = match (self.value(name), self.secret_in_file(name)) {
            (Some(_), Some(_)) => {
                self.refuse(name, format!("and {name}_FILE are both set: set only one of them"));
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

    /// Records that a setting is invalid, without its value.
    pub(super) fn refuse(&mut self, name: &'static str, problem: impl Into<String>) {
        self.bad.push(BadSetting {
            name,
            value: None,
            problem: problem.into(),
        });
    }

    /// Reads the file that `<name>_FILE` names. None if this is not set.
    fn secret_in_file(&self, name: &str) -> Option<Result<String, String>> {
        let setting = format!("{name}_FILE");
        let path = (self.lookup)(&setting).filter(|path| !path.trim().is_empty())?;
        // The parser of each setting checks the minimum length.
        Some(read_secret_file(Path::new(path.trim()), 1).map_err(|error| format!("from {setting}: {error}")))
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

fn known_names() -> impl Iterator<Item = &'static str> {
    KNOWN_NAMES.iter().chain(FILE_NAMES).copied()
}

/// Returns a warning for each unknown name that begins with `DAYBOOK_`.
pub(super) fn unknown_names(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with("DAYBOOK_") && !known_names().any(|known| known == name))
        .collect();
    unknown.sort_unstable();
    unknown
        .into_iter()
        .map(|name| {
            match known_names()
                .map(|known| (strsim::levenshtein(&name, known), known))
                .min()
                .filter(|(steps, _)| *steps <= 3)
            {
                Some((_, known)) => format!("{name} is not a setting; did you mean {known}?"),
                None => format!("{name} is not a setting"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_reported_with_the_nearest_known_one() {
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
