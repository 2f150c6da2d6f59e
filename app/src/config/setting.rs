//! The declaration of a setting, and the source of its value.

use std::fmt;

/// The declaration of a setting: everything about it except for the code that parses its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// The heading under which the setting is listed.
    pub group: &'static str,
    /// One sentence that says what the setting does.
    pub help: &'static str,
    /// Which values are valid, as in `a whole number from 1 to 1000`.
    pub values: String,
    /// Its value if it isn't set.
    pub default: DefaultValue,
    /// Who may see its value.
    pub secrecy: Secrecy,
}

impl Setting {
    /// Returns the variable that may name a file with the value, if the setting has one.
    pub fn file_name(&self) -> Option<String> {
        let may_be_in_file = matches!(self.secrecy, Secrecy::Hidden | Secrecy::Credential);
        may_be_in_file.then(|| format!("{}_FILE", self.name))
    }
}

/// The value of a setting that isn't set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultValue {
    /// No value. Then the service doesn't do what the setting is for.
    None,
    /// A fixed value.
    Value(String),
    /// A value that depends on the machine or on other settings, described in Markdown.
    Described(&'static str),
}

/// Who may see a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Secrecy {
    /// Everybody.
    Public,
    /// The value may contain a secret and is never printed. It may be in the file that `<NAME>_FILE` names.
    Hidden,
    /// Like `Hidden`, and the value gives access to Daybook. Programs that Daybook starts don't get it.
    Credential,
    /// The value may contain a secret and is never printed. Only tests read it, and not from a file.
    HiddenInTests,
}

/// Where a setting's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// It isn't set.
    Default,
    /// The environment variable with its name.
    Environment,
    /// The file with this path, which `<NAME>_FILE` names.
    File(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// A setting with the value that the service uses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveSetting {
    /// Its declaration.
    pub setting: Setting,
    /// Where its value comes from.
    pub source: Source,
    /// Its value. `[secret]` for a secret that is set. None if it has no value, or a [`DefaultValue::Described`] one.
    pub value: Option<String>,
}
