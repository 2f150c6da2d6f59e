//! The settings of the database: the server, the logins and the number of connections.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use super::settings::{Secret, Settings};

/// The settings of the database.
#[derive(Debug, Clone)]
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
        let url = settings.secret("DATABASE_URL", postgres_url);
        let app_url = settings.secret("DAYBOOK_APP_URL", postgres_url);
        if app_url.is_some() && settings.text("DATABASE_URL").is_none() && settings.text("DATABASE_URL_FILE").is_none()
        {
            settings.refuse(
                "DAYBOOK_APP_URL",
                "is set without DATABASE_URL: set both to the same server, or neither for a private cluster",
            );
        }
        Self {
            url,
            app_url,
            direct_url: settings.secret("DAYBOOK_DIRECT_URL", postgres_url),
            worker_url: settings.secret("DAYBOOK_WORKER_URL", postgres_url),
            strict_roles: settings.switch("DAYBOOK_STRICT_ROLES", false),
            migrate: settings.switch("DAYBOOK_MIGRATE", true),
            pool_size: settings.number("DAYBOOK_POOL_SIZE", 1..=1000, 10),
            erased_pseudonyms: settings
                .parsed("DAYBOOK_ERASED_NAMES", erased_pseudonyms)
                .unwrap_or_default(),
            statement_cache: settings.switch("DAYBOOK_STATEMENT_CACHE", true),
        }
    }
}

fn erased_pseudonyms(value: &str) -> Result<bool, String> {
    match value {
        "keep" => Ok(false),
        "pseudonym" => Ok(true),
        _ => Err("must be keep or pseudonym".to_owned()),
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
    Err(
        "must be a URL as in postgres://user:password@host:5432/name, with special characters in the password \
         percent-encoded"
            .to_owned(),
    )
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
