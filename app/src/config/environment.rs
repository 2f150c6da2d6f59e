//! Reads settings from the environment of the process.

use super::all::Config;
use super::listed::effective_settings_from;
use super::names;
use super::setting::EffectiveSetting;
use super::settings::BadSettings;

impl Config {
    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong, at once.
    pub fn from_env() -> Result<Self, BadSettings> {
        let mut config = Self::from_lookup(&environment)?;
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        config.warnings = names::unknown_names(names);
        Ok(config)
    }
}

/// Returns all settings in groups, with their values from the process's environment.
///
/// # Errors
///
/// Every setting that is wrong, at once.
pub fn effective_settings() -> Result<Vec<EffectiveSetting>, BadSettings> {
    effective_settings_from(&environment)
}

/// Returns a variable of the process's environment. A value that isn't UTF-8 is read with U+FFFD in it, and
/// [`Settings`](super::settings::Settings) refuses such values.
fn environment(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}
