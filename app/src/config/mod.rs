//! The service's settings, which are read from the environment once at start. Each concern has a small struct.
//!
//! All invalid settings are reported together, each with its name, its value and what would be valid, so that five
//! typos don't take five starts to find. A setting that may contain a secret (a key, a database URL with its password)
//! is reported without its value, and [`Secret`] hides it in `{:?}`. An empty variable counts as not set.
//!
//! **A secret may be in a file**: each setting that may contain a secret can be given as `<NAME>_FILE`, the path of a
//! file. The file must belong to the service's user or to root, and nobody else may read it (`chmod 600`):
//! `DAYBOOK_JWT_SECRET_FILE`, `DATABASE_URL_FILE`, `DAYBOOK_REDACTION_KEY_FILE` and so on.
//!
//! | setting | default | meaning |
//! |---|---|---|
//! | `DAYBOOK_BIND` | `127.0.0.1:8080` | the address on which the service listens |
//! | `DAYBOOK_BODY_LIMIT` | `1048576` | maximum size of a request body, in bytes |
//! | `DAYBOOK_REQUEST_TIMEOUT` | `30` | maximum duration of a request, in seconds |
//! | `DAYBOOK_WRITE_TIMEOUT` | `30` | how long a client may read nothing of its answer before its connection is closed, in seconds |
//! | `DAYBOOK_CONNECTIONS` | half of the open files | maximum number of connections of a process; more are refused with 503 |
//! | `DAYBOOK_HEADER_TIMEOUT` | `10` | how long a new connection may take to send the head of its first request, in seconds |
//! | `DAYBOOK_IDLE_TIMEOUT` | `75` | how long a connection may stay open without a request, in seconds |
//! | `DAYBOOK_BODY_TIMEOUT` | `20` | how long a request's body may make no progress, in seconds |
//! | `DAYBOOK_DATA_DIR` | `.daybook` | the folder for data that isn't in Postgres |
//! | `DATABASE_URL` | a private cluster | the server; a login that owns the tables also migrates |
//! | `DAYBOOK_APP_URL` | `DATABASE_URL` | a separate login for the pool that serves requests |
//! | `DAYBOOK_DIRECT_URL` | `DAYBOOK_APP_URL` | a direct connection to the server for LISTEN, if the other URLs lead to a pooler |
//! | `DAYBOOK_LISTEN` | `on` | `off`: the process polls once a second for changes by other processes |
//! | `DAYBOOK_LIVE_SOCKETS` | `20000` | maximum number of live sockets of a process |
//! | `DAYBOOK_ALLOWED_ORIGINS` | none | origins whose pages may open live sockets, in addition to the service's own; separated by commas |
//! | `DAYBOOK_URL` | `http://$DAYBOOK_BIND` | the service that commands connect to |
//! | `DAYBOOK_TOKEN` | the data folder's `token` | the token that commands send to it |
//! | `DAYBOOK_WORKER_URL` | `DATABASE_URL` | a separate login for the workers; a direct connection, no pooler |
//! | `DAYBOOK_JOBS` | `10` | maximum number of jobs that a process runs at the same time |
//! | `DAYBOOK_LOST_AFTER` | `60` | after how many seconds without a heartbeat a worker is dead and its sessions are lost |
//! | `DAYBOOK_JOB_GRACE` | `10` | how long running jobs may continue at a shutdown, in seconds |
//! | `DAYBOOK_KEEP_SESSIONS` | `90` | how long job sessions are kept after their end, in days |
//! | `DAYBOOK_STORAGE_DIR` | `storage` in the data folder | the folder of the run logs |
//! | `DAYBOOK_ADVERTISE_URL` | `http://$DAYBOOK_BIND` | this process's address, to which other processes redirect clients for the run logs that it writes |
//! | `DAYBOOK_RUN_LINE_LIMIT` | `262144` | maximum length of a line in a run log, in bytes |
//! | `DAYBOOK_RUN_LOG_LIMIT` | `1073741824` | maximum length of a run log, in bytes |
//! | `DAYBOOK_OPEN_RUNS` | `1000` | maximum number of unfinished runs of a team |
//! | `DAYBOOK_OPEN_LOGS` | `256` | maximum number of run logs whose files a process keeps open, at most a quarter of its descriptors |
//! | `DAYBOOK_LOG_READERS` | an eighth of the open files, at most 1000 | maximum number of streams and downloads of run logs at the same time |
//! | `DAYBOOK_TEAM_LOG_READERS` | half of `DAYBOOK_LOG_READERS` | the same for one team |
//! | `DAYBOOK_SEAL_RUNS` | `7` | after how many days a closed run log is compressed |
//! | `DAYBOOK_KEEP_RUNS` | `90` | how long run logs are kept after the run's end, in days |
//! | `DAYBOOK_STRICT_ROLES` | `off` | `on`: refuse to start with a superuser's login instead of only warning |
//! | `DAYBOOK_MIGRATE` | `on` | whether `serve` applies pending migrations |
//! | `DAYBOOK_ERASED_NAMES` | `keep` | which names are shown for erased people: the recorded ones, or a `pseudonym` |
//! | `DAYBOOK_POOL_SIZE` | `10` | number of connections of the pool that serves requests |
//! | `DAYBOOK_STATEMENT_CACHE` | `on` | set it to `off` behind a pooler without prepared statements |
//! | `DAYBOOK_JWT_SECRET` | none | HS256: the secret that signs tokens, at least 32 bytes |
//! | `DAYBOOK_JWT_PUBLIC_KEY` | none | RS256 or ES256: a public key as PEM, or the path of a PEM file |
//! | `DAYBOOK_JWT_ISSUER` | `daybook` | the `iss` that tokens must have |
//! | `DAYBOOK_JWT_AUDIENCE` | none | the `aud` that tokens must have |
//! | `DAYBOOK_SERVICE` | `daybook` | the service's name in wide events |
//! | `DAYBOOK_DEPLOYMENT_ID` | none | the deployment's id in wide events |
//! | `DAYBOOK_REGION` | none | the region in wide events |
//! | `DAYBOOK_SAMPLE_RATE` | `1` | the share of wide events that are emitted; failures always are |
//! | `DAYBOOK_SAMPLE_ROUTES` | none | shares for single routes: `/healthz=0.01,/internal/*=0.1` |
//! | `DAYBOOK_SLOW_MS` | `2000` | from which duration a request counts as slow, in milliseconds |
//! | `DAYBOOK_EVENT_HEADERS` | none | the request headers that wide events have, separated by commas |
//! | `DAYBOOK_EVENT_SCHEMA` | `on` | whether wide events are validated against their schema |
//! | `DAYBOOK_REDACTION_KEY` | none | the key of hashes in wide events, at least 16 bytes; without a key, values to hash are dropped |
//! | `DAYBOOK_REDACTION_KEY_ID` | `1` | the id of that key, which is in every hash |

mod auth;
mod connections;
mod database;
mod http;
mod jobs;
mod live;
mod remote;
mod runs;
mod secret_file;
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
pub use remote::RemoteConfig;
pub use runs::RunsConfig;
pub(crate) use secret_file::read_secret_file;
pub use settings::{BadSetting, BadSettings, CREDENTIALS, Secret};
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
    /// Probable mistakes that don't prevent the start, such as a misspelt `DAYBOOK_…` name. For stderr.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong, at once.
    pub fn from_env() -> Result<Self, BadSettings> {
        // A value that isn't UTF-8 is read with U+FFFD in it. `Settings` refuses such values.
        let mut config = Self::from_lookup(&|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))?;
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        config.warnings = settings::unknown_names(names);
        Ok(config)
    }

    /// Reads the settings from `lookup`, which returns the value for a name, so that tests need no environment.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong, at once.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, BadSettings> {
        let mut settings = Settings::new(lookup);
        let config = Self {
            http: HttpConfig::read(&mut settings),
            database: DatabaseConfig::read(&mut settings),
            auth: AuthConfig::read(&mut settings),
            jobs: JobsConfig::read(&mut settings),
            runs: RunsConfig::read(&mut settings),
            live: LiveConfig::read(&mut settings),
            wide_events: WideEventsConfig::read(&mut settings),
            remote: RemoteConfig::read(&mut settings),
            data_dir: settings
                .text("DAYBOOK_DATA_DIR")
                .unwrap_or_else(|| ".daybook".to_owned())
                .into(),
            warnings: Vec::new(),
        };
        settings.finish(config)
    }
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

    /// Checks that each setting that is read as a secret is listed as a credential, or below with the reason why not.
    #[test]
    fn every_secret_is_listed_as_a_credential() {
        // A public key, and a URL that other programs also read.
        let others = ["DAYBOOK_JWT_PUBLIC_KEY", "DATABASE_URL"];
        // This value is invalid for every setting. Settings that are reported without their value are read as secrets.
        let refused = Config::from_lookup(&|_| Some("\u{1}".to_owned())).unwrap_err();
        let mut secrets: Vec<_> = refused
            .0
            .iter()
            .filter(|bad| bad.value.is_none())
            .map(|bad| bad.name)
            .collect();
        let mut listed: Vec<_> = CREDENTIALS.iter().copied().chain(others).collect();
        secrets.sort_unstable();
        listed.sort_unstable();
        assert_eq!(secrets, listed);
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_refused_by_name() {
        let error = read(&[("DAYBOOK_DATA_DIR", "/data/\u{FFFD}")]).unwrap_err();
        assert!(error.to_string().contains("DAYBOOK_DATA_DIR"), "{error}");
    }
}
