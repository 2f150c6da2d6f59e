//! Declares and reads single settings, and collects their errors.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use super::secret_file::read_secret_file;
use super::setting::{DefaultValue, EffectiveSetting, Secrecy, Setting, Source};

/// The text that is printed instead of a secret.
const MASK: &str = "[secret]";

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
        f.write_str(MASK)
    }
}

/// One invalid setting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadSetting {
    /// The variable's name.
    pub name: &'static str,
    /// Its value, unless it may contain a secret.
    pub value: Option<String>,
    /// A description of valid values, as a predicate for the name: `must be on or off`.
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

/// Looks settings up, collects the invalid ones, and keeps the declarations. An invalid setting is treated as not set.
///
/// A setting is declared where it is read, by [`Settings::setting`] and the methods of [`Declaration`], and nowhere
/// else. The list of all settings is what one reading has declared.
pub(super) struct Settings<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    group: &'static str,
    found: Vec<EffectiveSetting>,
    bad: Vec<BadSetting>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            group: "",
            found: Vec::new(),
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

    /// Returns the settings that were read, in their order.
    pub(super) fn take_found(&mut self) -> Vec<EffectiveSetting> {
        std::mem::take(&mut self.found)
    }

    /// Begins a group of settings with this heading.
    pub(super) fn group(&mut self, heading: &'static str) {
        self.group = heading;
    }

    /// Begins the declaration of a setting. `help` is one sentence.
    pub(super) fn setting(&mut self, name: &'static str, help: &'static str) -> Declaration<'_, 'a> {
        Declaration {
            setting: Setting {
                name,
                group: self.group,
                help,
                values: String::new(),
                default: DefaultValue::None,
                secrecy: Secrecy::Public,
            },
            settings: self,
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

    /// Returns whether a variable has a value, valid or not.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.lookup_filled(name).is_some()
    }

    /// Returns a variable's value. An empty one is not set.
    fn lookup_filled(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }
}

/// The declaration of one setting. The last method of the chain reads its value.
#[must_use]
pub(super) struct Declaration<'s, 'a> {
    settings: &'s mut Settings<'a>,
    setting: Setting,
}

impl Declaration<'_, '_> {
    /// Describes a default that depends on the machine or on other settings.
    pub(super) fn default(mut self, description: &'static str) -> Self {
        self.setting.default = DefaultValue::Described(description);
        self
    }

    /// Reads any text.
    pub(super) fn text(self, values: &str) -> Option<String> {
        self.valid(values, |value| Some(value.to_owned()))
    }

    /// Reads any text, with a default.
    pub(super) fn text_or(self, default: &str, values: &str) -> String {
        self.valid_or(default.to_owned(), values, |value| Some(value.to_owned()))
    }

    /// Reads `on` or `off`.
    pub(super) fn switch(mut self, default: bool) -> bool {
        self.setting.default = DefaultValue::Value(if default { "on" } else { "off" }.to_owned());
        self.valid("on or off", |value| match value {
            _ if value.eq_ignore_ascii_case("on") => Some(true),
            _ if value.eq_ignore_ascii_case("off") => Some(false),
            _ => None,
        })
        .unwrap_or(default)
    }

    /// Reads a whole number within `range`, with a default.
    pub(super) fn number<N>(mut self, range: RangeInclusive<N>, default: N) -> N
    where
        N: std::str::FromStr + PartialOrd + fmt::Display,
    {
        self.setting.default = DefaultValue::Value(default.to_string());
        self.optional_number(range).unwrap_or(default)
    }

    /// Reads a whole number within `range`.
    pub(super) fn optional_number<N>(self, range: RangeInclusive<N>) -> Option<N>
    where
        N: std::str::FromStr + PartialOrd + fmt::Display,
    {
        let values = format!("a whole number from {} to {}", range.start(), range.end());
        self.valid(&values, |value| {
            value.parse().ok().filter(|number| range.contains(number))
        })
    }

    /// Reads a value with `parse`. `values` describes the valid values, as the text after "must be".
    pub(super) fn valid<T>(self, values: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.checked(values, |value| parse(value).ok_or_else(|| format!("must be {values}")))
    }

    /// Like [`Declaration::valid`], with a default.
    pub(super) fn valid_or<T: fmt::Display>(
        mut self,
        default: T,
        values: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        self.setting.default = DefaultValue::Value(default.to_string());
        self.valid(values, parse).unwrap_or(default)
    }

    /// Reads a value with `parse`. Its error is a predicate for the name: `must be on or off`.
    pub(super) fn checked<T>(mut self, values: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        values.clone_into(&mut self.setting.values);
        let Some(value) = self.value() else {
            return self.found(Source::Default, None, None);
        };
        match parse(&value) {
            Ok(parsed) => self.found(Source::Environment, Some(value), Some(parsed)),
            Err(problem) => {
                self.settings.bad.push(BadSetting {
                    name: self.setting.name,
                    // An address may contain a password.
                    value: (!(value.contains("://") && value.contains('@'))).then_some(value),
                    problem,
                });
                self.found(Source::Environment, None, None)
            }
        }
    }

    /// Like [`Declaration::checked`], with a default.
    pub(super) fn checked_or(
        mut self,
        default: &str,
        values: &str,
        parse: impl FnOnce(&str) -> Result<String, String>,
    ) -> String {
        self.setting.default = DefaultValue::Value(default.to_owned());
        self.checked(values, parse).unwrap_or_else(|| default.to_owned())
    }

    /// Like [`Declaration::secret`], for a value that gives access to Daybook.
    pub(super) fn credential<T>(mut self, values: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.setting.secrecy = Secrecy::Credential;
        self.read_secret(values, parse)
    }

    /// Like [`Declaration::checked`], for a value that may contain a secret: errors don't show it.
    ///
    /// The value may instead be in the file that `<name>_FILE` names.
    pub(super) fn secret<T>(mut self, values: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.setting.secrecy = Secrecy::Hidden;
        self.read_secret(values, parse)
    }

    /// Declares a setting that other code reads: clap, the logger, or tests.
    pub(super) fn read_elsewhere(mut self, values: &str) {
        values.clone_into(&mut self.setting.values);
        let value = self.settings.lookup_filled(self.setting.name);
        let source = match value {
            Some(_) => Source::Environment,
            None => Source::Default,
        };
        self.found::<()>(source, value, None);
    }

    /// Like [`Declaration::read_elsewhere`], with a default.
    pub(super) fn read_elsewhere_or(mut self, default: &str, values: &str) {
        self.setting.default = DefaultValue::Value(default.to_owned());
        self.read_elsewhere(values);
    }

    /// Like [`Declaration::read_elsewhere`], for a test's setting whose value may contain a secret.
    pub(super) fn read_by_tests_as_secret(mut self, values: &str) {
        self.setting.secrecy = Secrecy::HiddenInTests;
        self.read_elsewhere(values);
    }

    fn read_secret<T>(mut self, values: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        values.clone_into(&mut self.setting.values);
        let name = self.setting.name;
        let (source, value) = match (self.value(), self.value_in_file()) {
            (Some(_), Some(_)) => {
                let problem = format!("and {name}_FILE are both set: set only one of them");
                return self.refused(problem);
            }
            (Some(value), None) => (Source::Environment, value),
            (None, Some((path, Ok(value)))) => (Source::File(path), value),
            (None, Some((_, Err(problem)))) => return self.refused(problem),
            (None, None) => return self.found(Source::Default, None, None),
        };
        match parse(&value) {
            Ok(parsed) => self.found(source, Some(value), Some(parsed)),
            Err(problem) => self.refused(problem),
        }
    }

    fn refused<T>(self, problem: String) -> Option<T> {
        self.settings.refuse(self.setting.name, problem);
        self.found(Source::Environment, None, None)
    }

    /// Keeps the declaration with what was found, and returns the parsed value.
    fn found<T>(self, source: Source, value: Option<String>, parsed: Option<T>) -> Option<T> {
        let value = match (&self.setting.default, self.setting.secrecy) {
            (DefaultValue::Value(default), _) if value.is_none() => Some(default.clone()),
            (_, Secrecy::Public) => value,
            (_, Secrecy::Hidden | Secrecy::Credential | Secrecy::HiddenInTests) => value.map(|_| MASK.to_owned()),
        };
        self.settings.found.push(EffectiveSetting {
            setting: self.setting,
            source,
            value,
        });
        parsed
    }

    /// Reads the file that `<name>_FILE` names. Returns its path, and its contents or what is wrong with it; none if
    /// the variable is not set.
    fn value_in_file(&self) -> Option<(String, Result<String, String>)> {
        let variable = self.setting.file_name()?;
        let path = self.settings.lookup_filled(&variable)?.trim().to_owned();
        // The parser of each setting checks the minimum length.
        let value = read_secret_file(Path::new(&path), 1).map_err(|error| format!("from {variable}: {error}"));
        Some((path, value))
    }

    fn value(&mut self) -> Option<String> {
        let value = self.settings.lookup_filled(self.setting.name)?;
        if value.contains('\u{FFFD}') {
            self.settings.refuse(self.setting.name, "must be UTF-8");
            return None;
        }
        Some(value)
    }
}
