//! The service's settings, which are read from the environment once at start. Each area has a struct of its own.
//!
//! All invalid settings are reported together, each with its name, its value and what would be valid, so that five
//! typos don't take five starts to find. A setting that may contain a secret (a key, a database URL with its password)
//! is reported without its value, and [`Secret`] hides it in `{:?}`. An empty variable counts as not set.
//!
//! **A secret may be in a file**: each setting that may contain a secret can be given as `<NAME>_FILE`, the path of a
//! file. The file must belong to the service's user or to root, and nobody else may read it (`chmod 600`):
//! `DAYBOOK_JWT_SECRET_FILE`, `DATABASE_URL_FILE`, `DAYBOOK_REDACTION_KEY_FILE` and so on.
//!
//! **A setting is declared once**, where its area reads it: name, help, valid values, default, secrecy. The parsing
//! with its errors, the known names, `docs/configuration.md` and `daybook config` come from this declaration.

mod auth;
mod connections;
mod database;
mod http;
mod jobs;
mod live;
mod names;
mod process;
#[cfg(test)]
mod reference;
mod remote;
mod runs;
mod secret_file;
mod setting;
mod settings;
mod wide_events;

use std::path::PathBuf;

pub(crate) use auth::MIN_SECRET_BYTES;
pub use auth::{AuthConfig, JwtKey, PublicKey, PublicKeyAlgorithm};
pub use connections::ConnectionsConfig;
pub use database::DatabaseConfig;
pub use http::HttpConfig;
pub use jobs::JobsConfig;
pub use live::LiveConfig;
pub(crate) use process::DEFAULT_LOG_FILTER;
pub use remote::RemoteConfig;
pub use runs::RunsConfig;
pub(crate) use secret_file::read_secret_file;
pub use setting::{DefaultValue, EffectiveSetting, Secrecy, Setting, Source, credential_names, effective_settings};
pub use settings::{BadSetting, BadSettings, Secret};
pub use wide_events::WideEventsConfig;

use settings::Settings;

/// All settings of the service.
#[derive(Debug, Clone)]
pub struct Config {
    /// How requests are received and limited.
    pub http: HttpConfig,
    /// The database server, the logins and the number of connections.
    pub database: DatabaseConfig,
    /// Which tokens are accepted.
    pub auth: AuthConfig,
    /// How background jobs run.
    pub jobs: JobsConfig,
    /// Where run logs are stored, and their limits.
    pub runs: RunsConfig,
    /// How live sockets are served.
    pub live: LiveConfig,
    /// The contents and rules of wide events.
    pub wide_events: WideEventsConfig,
    /// The service that commands connect to.
    pub remote: RemoteConfig,
    /// The folder for data that isn't in Postgres: run logs, the private cluster, the owner's token file.
    pub data_dir: PathBuf,
    /// Warnings of probable mistakes that don't prevent the start, such as a misspelt `DAYBOOK_…` name. They are
    /// printed on stderr.
    pub warnings: Vec<String>,
}

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

    /// Reads the settings from `lookup`, which returns the value for a name, so that tests need no environment.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong, at once.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, BadSettings> {
        let mut settings = Settings::new(lookup);
        let config = Self::read(&mut settings);
        settings.finish(config)
    }

    /// Reads all settings, in the order in which they are listed.
    fn read(settings: &mut Settings<'_>) -> Self {
        let config = Self {
            http: HttpConfig::read(settings),
            database: DatabaseConfig::read(settings),
            auth: AuthConfig::read(settings),
            jobs: JobsConfig::read(settings),
            runs: RunsConfig::read(settings),
            live: LiveConfig::read(settings),
            wide_events: WideEventsConfig::read(settings),
            remote: RemoteConfig::read(settings),
            data_dir: process::read_data_dir(settings),
            warnings: Vec::new(),
        };
        process::declare_settings_of_tests(settings);
        config
    }
}

/// Returns a variable of the process's environment. A value that isn't UTF-8 is read with U+FFFD in it, and
/// [`Settings`] refuses such values.
fn environment(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, BadSettings> {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from_lookup(&|name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn every_setting_has_a_default() {
        let config = read(&[]).unwrap();
        assert_eq!(config.http.bind.to_string(), "127.0.0.1:8080");
        assert_eq!(config.http.body_limit_bytes, 1024 * 1024);
        assert_eq!(config.http.request_timeout.as_secs(), 30);
        assert_eq!(config.data_dir, PathBuf::from(".daybook"));
        assert!(config.database.url.is_none() && config.database.app_url.is_none());
        assert!(!config.database.strict_roles && config.database.migrate && config.database.statement_cache);
        assert_eq!(config.database.pool_size, 10);
        assert!(config.auth.key.is_none());
        assert_eq!(config.auth.issuer, "daybook");
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let config = read(&[("DATABASE_URL", ""), ("DAYBOOK_POOL_SIZE", "  ")]).unwrap();
        assert!(config.database.url.is_none());
        assert_eq!(config.database.pool_size, 10);
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_shown() {
        for name in ["DAYBOOK_ADVERTISE_URL", "DAYBOOK_ALLOWED_ORIGINS", "DAYBOOK_URL"] {
            let refused = read(&[(name, "http://ops:hunter2@10.0.0.7:8080")])
                .unwrap_err()
                .to_string();
            assert!(refused.contains(name) && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn all_bad_settings_are_reported_together_with_what_would_be_valid() {
        let error = read(&[
            ("DAYBOOK_BIND", "localhost"),
            ("DAYBOOK_POOL_SIZE", "0"),
            ("DAYBOOK_MIGRATE", "maybe"),
            ("DAYBOOK_REQUEST_TIMEOUT", "1h"),
            ("DAYBOOK_BODY_LIMIT", "1MiB"),
            ("DATABASE_URL", "mysql://ada:hunter2@db/x"),
            ("DAYBOOK_JWT_SECRET", "hunter2"),
        ])
        .unwrap_err();
        let text = error.to_string();
        assert_eq!(error.0.len(), 7, "{text}");
        assert!(
            text.contains(r#"DAYBOOK_BIND="localhost" must be an IP address and a port"#),
            "{text}"
        );
        assert!(
            text.contains(r#"DAYBOOK_POOL_SIZE="0" must be a whole number from 1 to 1000"#),
            "{text}"
        );
        assert!(text.contains(r#"DAYBOOK_MIGRATE="maybe" must be on or off"#), "{text}");
        assert!(text.contains("DATABASE_URL must be"), "{text}");
        assert!(
            text.contains("DAYBOOK_JWT_SECRET must be at least 32 bytes long, but has 7"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = read(&[
            ("DATABASE_URL", "postgres://ada:hunter2@db:5432/daybook"),
            ("DAYBOOK_APP_URL", "postgres://app:hunter2@db:5432/daybook"),
            ("DAYBOOK_JWT_SECRET", "hunter2-hunter2-hunter2-hunter2-hunter2"),
        ])
        .unwrap();
        let text = format!("{config:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("[secret]"), "{text}");
    }

    #[test]
    fn a_refused_value_is_shown_unless_it_may_contain_a_secret() {
        // This value is invalid for every setting.
        let refused = Config::from_lookup(&|_| Some("\u{1}".to_owned())).unwrap_err();
        for bad in refused.0 {
            let declared = setting::declared_settings();
            let setting = declared.iter().find(|setting| setting.name == bad.name).unwrap();
            assert_eq!(bad.value.is_some(), setting.secrecy == Secrecy::Public, "{bad}");
        }
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_refused_by_name() {
        let error = read(&[("DAYBOOK_DATA_DIR", "/data/\u{FFFD}")]).unwrap_err();
        assert!(error.to_string().contains("DAYBOOK_DATA_DIR"), "{error}");
    }
}
