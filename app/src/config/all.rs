//! All settings together.

use std::path::PathBuf;

use super::auth::AuthConfig;
use super::database::DatabaseConfig;
use super::http::HttpConfig;
use super::jobs::JobsConfig;
use super::live::LiveConfig;
use super::process;
use super::remote::RemoteConfig;
use super::runs::RunsConfig;
use super::settings::{BadSettings, Settings};
use super::wide_events::WideEventsConfig;

/// All settings of the service.
#[derive(Debug, Clone)]
#[non_exhaustive]
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
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
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

#[cfg(test)]
mod tests {
    use super::super::listed::declared_settings;
    use super::super::setting::Secrecy;
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
            let declared = declared_settings();
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
