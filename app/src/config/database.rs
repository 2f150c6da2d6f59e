//! The settings of the database: the server, the logins and the number of connections.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use super::settings::{Secret, Settings};

/// A description of a valid database URL, for errors and the reference.
const POSTGRES_URL: &str = "a URL as in postgres://user:password@host:5432/name, with special characters in the \
                            password percent-encoded";

/// The settings of the database.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DatabaseConfig {
    /// The server. None: the service runs a private cluster in its data folder. This login migrates, and may own the
    /// tables.
    pub url: Option<Secret>,
    /// A separate login for the pool that serves requests. None: `url`, with the role set at connect.
    pub app_url: Option<Secret>,
    /// A direct connection to the server for LISTEN, which poolers don't support. None: the pool's connection.
    pub direct_url: Option<Secret>,
    /// A separate login for the workers. None: `url`.
    pub worker_url: Option<Secret>,
    /// Whether a superuser's login for the pool is an error instead of a warning.
    pub strict_roles: bool,
    /// Whether `serve` applies pending migrations.
    pub migrate: bool,
    /// The number of connections of the pool that serves requests.
    pub pool_size: u32,
    /// Whether a pseudonym is shown instead of the recorded names of erased people.
    pub erased_pseudonyms: bool,
    /// Whether prepared statements are cached. Must be off behind a pooler without prepared statements.
    pub statement_cache: bool,
}

impl DatabaseConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        settings.group("Database");
        let url = settings
            .setting(
                "DATABASE_URL",
                "The database server; a login that owns the tables also migrates.",
            )
            .default("a private cluster in the data folder")
            .secret(POSTGRES_URL, postgres_url);
        let app_url = settings
            .setting("DAYBOOK_APP_URL", "A separate login for the pool that serves requests.")
            .default("`DATABASE_URL`")
            .credential(POSTGRES_URL, postgres_url);
        if app_url.is_some() && !settings.is_set("DATABASE_URL") && !settings.is_set("DATABASE_URL_FILE") {
            settings.refuse(
                "DAYBOOK_APP_URL",
                "is set without DATABASE_URL: set both to the same server, or neither for a private cluster",
            );
        }
        let direct_url = settings
            .setting(
                "DAYBOOK_DIRECT_URL",
                "A direct connection to the server for LISTEN, if the other URLs lead to a pooler.",
            )
            .default("`DAYBOOK_APP_URL`")
            .credential(POSTGRES_URL, postgres_url);
        let worker_url = settings
            .setting(
                "DAYBOOK_WORKER_URL",
                "A separate login for the workers; a direct connection, no pooler.",
            )
            .default("`DATABASE_URL`")
            .credential(POSTGRES_URL, postgres_url);
        let strict_roles = settings
            .setting(
                "DAYBOOK_STRICT_ROLES",
                "Whether the service refuses to start with a superuser's login; with `off` it only warns.",
            )
            .switch(false);
        let migrate = settings
            .setting("DAYBOOK_MIGRATE", "Whether `serve` applies pending migrations.")
            .switch(true);
        let pool_size = settings
            .setting(
                "DAYBOOK_POOL_SIZE",
                "The number of connections of the pool that serves requests.",
            )
            .number(1..=1000, 10);
        let statement_cache = settings
            .setting(
                "DAYBOOK_STATEMENT_CACHE",
                "Whether prepared statements are cached; must be `off` behind a pooler without prepared statements.",
            )
            .switch(true);
        let erased_names = settings
            .setting(
                "DAYBOOK_ERASED_NAMES",
                "Whether erased people are shown with their recorded names or with a pseudonym.",
            )
            .valid_or(ErasedNames::Keep, "keep or pseudonym", ErasedNames::parse);
        Self {
            url,
            app_url,
            direct_url,
            worker_url,
            strict_roles,
            migrate,
            pool_size,
            erased_pseudonyms: erased_names == ErasedNames::Pseudonym,
            statement_cache,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ErasedNames {
    Keep,
    Pseudonym,
}

impl ErasedNames {
    fn parse(value: &str) -> Option<Self> {
        match value {
            "keep" => Some(Self::Keep),
            "pseudonym" => Some(Self::Pseudonym),
            _ => None,
        }
    }
}

impl fmt::Display for ErasedNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Pseudonym => "pseudonym",
        })
    }
}

/// Checks a URL. The parser's message is dropped, because it may contain a part of the password.
fn postgres_url(value: &str) -> Result<Secret, String> {
    let scheme_is_ours = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    if scheme_is_ours && PgConnectOptions::from_str(value).is_ok() {
        return Ok(Secret::new(value));
    }
    Err(format!("must be {POSTGRES_URL}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_postgres_urls_are_accepted() {
        for url in [
            "postgres://ada@db/x",
            "postgresql://ada:p%23w@[::1]:5433/x?sslmode=require",
            "postgres:///x?host=/run",
        ] {
            assert!(postgres_url(url).is_ok(), "{url}");
        }
        for url in [
            "db:5432/x",
            "mysql://ada@db/x",
            "postgres://ada:p#w@db/x",
            "postgres://ada@db:port/x",
        ] {
            assert!(postgres_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn names_of_erased_people_are_kept_or_replaced() {
        let read = |value: &'static str| {
            let lookup = move |name: &str| (name == "DAYBOOK_ERASED_NAMES").then(|| value.to_owned());
            let mut settings = Settings::new(&lookup);
            let config = DatabaseConfig::read(&mut settings);
            settings.finish(config.erased_pseudonyms)
        };
        assert_eq!(read("keep"), Ok(false));
        assert_eq!(read("pseudonym"), Ok(true));
        let refused = read("drop").unwrap_err().to_string();
        assert!(refused.contains("must be keep or pseudonym"), "{refused}");
    }

    #[test]
    fn an_app_login_needs_database_url() {
        let mut settings = Settings::new(&|name| (name == "DAYBOOK_APP_URL").then(|| "postgres://app@db/x".to_owned()));
        let config = DatabaseConfig::read(&mut settings);
        assert!(
            settings
                .finish(config)
                .unwrap_err()
                .to_string()
                .contains("without DATABASE_URL")
        );
    }
}
