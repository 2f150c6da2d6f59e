//! The service's settings: one small struct a concern, read from the environment once, at start.
//!
//! Every bad setting is named, with its value and with what would be valid, and all of them at once, so
//! that nobody starts the service five times to find five typos. A setting that may hold a secret
//! (a key, a database URL with its password) is named without its value, and [`Secret`] keeps it out of
//! `{:?}`. An empty variable counts as one that isn't set.
//!
//! **A secret may be in a file**: each setting that may hold one can be given as `<NAME>_FILE`, the path of a file that
//! belongs to the service's user or to root and that nobody else can read (`chmod 600`): `DAYBOOK_JWT_SECRET_FILE`,
//! `DATABASE_URL_FILE`, `DAYBOOK_REDACTION_KEY_FILE` and so on.
//!
//! | setting | default | what it says |
//! |---|---|---|
//! | `DAYBOOK_BIND` | `127.0.0.1:8080` | the address that the service listens on |
//! | `DAYBOOK_BODY_LIMIT` | `1048576` | the largest request body, in bytes |
//! | `DAYBOOK_REQUEST_TIMEOUT` | `30` | how long a request may take, in seconds |
//! | `DAYBOOK_WRITE_TIMEOUT` | `30` | how long a client may take nothing of its answer before it is cut off, in seconds |
//! | `DAYBOOK_CONNECTIONS` | half of the open files | connections that a process holds at most; more are refused with 503 |
//! | `DAYBOOK_HEADER_TIMEOUT` | `10` | how long a new connection may take to send its first request's head, in seconds |
//! | `DAYBOOK_IDLE_TIMEOUT` | `75` | how long a connection may stay open without a request, in seconds |
//! | `DAYBOOK_BODY_TIMEOUT` | `20` | how long a request's body may make no progress, in seconds |
//! | `DAYBOOK_DATA_DIR` | `.daybook` | the folder for what isn't kept in Postgres |
//! | `DATABASE_URL` | a private cluster | the server; its login may own the tables, and then migrates |
//! | `DAYBOOK_APP_URL` | `DATABASE_URL` | a login of its own for the pool that serves requests |
//! | `DAYBOOK_DIRECT_URL` | `DAYBOOK_APP_URL` | the server itself, where the others lead to a pooler: for LISTEN |
//! | `DAYBOOK_LISTEN` | `on` | `off`: what other processes write is found by looking once a second |
//! | `DAYBOOK_LIVE_SOCKETS` | `20000` | live sockets that one process serves at most |
//! | `DAYBOOK_ALLOWED_ORIGINS` | none | pages that may open live sockets, beside the service's own: origins, by commas |
//! | `DAYBOOK_URL` | `http://$DAYBOOK_BIND` | the service that commands talk to |
//! | `DAYBOOK_TOKEN` | the data folder's `token` | what they present there |
//! | `DAYBOOK_WORKER_URL` | `DATABASE_URL` | a login of its own for the workers: the server itself, no pooler |
//! | `DAYBOOK_JOBS` | `10` | jobs that a process runs at the same time |
//! | `DAYBOOK_LOST_AFTER` | `60` | after how many seconds of silence a worker is dead and a session lost |
//! | `DAYBOOK_JOB_GRACE` | `10` | how long jobs may go on when the process is to stop, in seconds |
//! | `DAYBOOK_KEEP_SESSIONS` | `90` | how long job sessions are kept after their end, in days |
//! | `DAYBOOK_STORAGE_DIR` | `storage` in the data folder | the folder that run logs are in |
//! | `DAYBOOK_ADVERTISE_URL` | `http://$DAYBOOK_BIND` | where other processes send who wants a run's log of this one |
//! | `DAYBOOK_RUN_LINE_LIMIT` | `262144` | the longest line of a run log, in bytes |
//! | `DAYBOOK_RUN_LOG_LIMIT` | `1073741824` | the longest run log, in bytes |
//! | `DAYBOOK_OPEN_RUNS` | `1000` | unfinished runs that a team may have at the same time |
//! | `DAYBOOK_OPEN_LOGS` | `256` | run logs whose files a process has open, at most a quarter of its descriptors |
//! | `DAYBOOK_LOG_READERS` | an eighth of the open files, at most 1000 | streams and downloads of run logs at the same time |
//! | `DAYBOOK_TEAM_LOG_READERS` | half of `DAYBOOK_LOG_READERS` | the same for one team |
//! | `DAYBOOK_SEAL_RUNS` | `7` | after how many days a run log that is closed is compressed |
//! | `DAYBOOK_KEEP_RUNS` | `90` | how long run logs are kept after the run's end, in days |
//! | `DAYBOOK_STRICT_ROLES` | `off` | refuse to start on a superuser's login instead of warning |
//! | `DAYBOOK_MIGRATE` | `on` | whether `serve` applies pending migrations |
//! | `DAYBOOK_ERASED_NAMES` | `keep` | the names that readers show of people who were erased: as recorded, or a `pseudonym` |
//! | `DAYBOOK_POOL_SIZE` | `10` | connections of the pool that serves requests |
//! | `DAYBOOK_STATEMENT_CACHE` | `on` | `off` behind a pooler that has no prepared statements |
//! | `DAYBOOK_JWT_SECRET` | none | HS256: the secret that signs tokens, at least 32 bytes |
//! | `DAYBOOK_JWT_PUBLIC_KEY` | none | RS256 or ES256: PEM, or a path to a PEM file |
//! | `DAYBOOK_JWT_ISSUER` | `daybook` | the `iss` that tokens must carry |
//! | `DAYBOOK_JWT_AUDIENCE` | none | the `aud` that tokens must carry |
//! | `DAYBOOK_SERVICE` | `daybook` | what wide events call this service |
//! | `DAYBOOK_DEPLOYMENT_ID` | none | what was rolled out, in wide events |
//! | `DAYBOOK_REGION` | none | where it runs, in wide events |
//! | `DAYBOOK_SAMPLE_RATE` | `1` | the share of wide events that is emitted; what went wrong always is |
//! | `DAYBOOK_SAMPLE_ROUTES` | none | routes with a share of their own: `/healthz=0.01,/internal/*=0.1` |
//! | `DAYBOOK_SLOW_MS` | `2000` | from when on a request counts as slow, in milliseconds |
//! | `DAYBOOK_EVENT_HEADERS` | none | request headers that wide events have, by commas |
//! | `DAYBOOK_EVENT_SCHEMA` | `on` | whether wide events are checked against their schema |
//! | `DAYBOOK_REDACTION_KEY` | none | the key of hashes in wide events, at least 16 bytes; without one they are dropped |
//! | `DAYBOOK_REDACTION_KEY_ID` | `1` | that key's name, which is in every hash |

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
    /// How requests are taken.
    pub http: HttpConfig,
    /// Which server, as whom, with how many connections.
    pub database: DatabaseConfig,
    /// Whose tokens are believed.
    pub auth: AuthConfig,
    /// How work in the background is done.
    pub jobs: JobsConfig,
    /// Where run logs are kept.
    pub runs: RunsConfig,
    /// How live sockets are served.
    pub live: LiveConfig,
    /// How wide events are made.
    pub wide_events: WideEventsConfig,
    /// The service that commands talk to.
    pub remote: RemoteConfig,
    /// The folder for what isn't kept in Postgres: run logs, the private cluster, the owner's token file.
    pub data_dir: PathBuf,
    /// What looks like a mistake and doesn't stop the start: a misspelt `DAYBOOK_…` name. For stderr.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong, at once.
    pub fn from_env() -> Result<Self, BadSettings> {
        // A value that isn't UTF-8 is read with U+FFFD in it, which the settings refuse by name.
        let mut config = Self::from_lookup(&|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))?;
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        config.warnings = settings::unknown_names(names);
        Ok(config)
    }

    /// Reads settings from `lookup`, which answers a name with its value, so that tests need no environment.
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
    fn nothing_set_is_a_whole_configuration() {
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
    fn every_bad_setting_is_told_at_once_with_what_would_be_valid() {
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
            text.contains("DAYBOOK_JWT_SECRET must be at least 32 bytes long, and is 7"),
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

    /// A setting that is read as a secret is a credential, or is here with the reason why not.
    #[test]
    fn every_secret_is_listed_as_a_credential() {
        // A key that everybody may know, and an address that is not only ours.
        let others = ["DAYBOOK_JWT_PUBLIC_KEY", "DATABASE_URL"];
        // No setting takes this. Those that are refused without their value are read as secrets.
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
