//! Which server, as whom, with how many connections.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use super::settings::{Secret, Settings};

/// Which server, as whom, with how many connections.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The server. None: the service keeps a private cluster in its data folder. The login may own the
    /// tables: it is the one that migrates.
    pub url: Option<Secret>,
    /// A login of its own for the pool that serves requests. None: `url`, with the role set at connect.
    pub app_url: Option<Secret>,
    /// The server itself, for what no pooler carries: LISTEN. None: as the pool connects.
    pub direct_url: Option<Secret>,
    /// A login of its own for the workers. None: `url`.
    pub worker_url: Option<Secret>,
    /// Whether a superuser's login behind the pool is an error instead of a warning.
    pub strict_roles: bool,
    /// Whether `serve` applies pending migrations.
    pub migrate: bool,
    /// Connections of the pool that serves requests.
    pub pool_size: u32,
    /// Whether readers show a pseudonym instead of the recorded names of people who were erased.
    pub erased_pseudonyms: bool,
    /// Whether statements are prepared once and kept; not behind a pooler without prepared statements.
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
                "is set without DATABASE_URL: set both, to the same server, or neither for a private cluster",
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

/// The parser's own words are dropped: they may hold a piece of the password.
fn postgres_url(value: &str) -> Result<Secret, String> {
    let scheme_is_ours = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    if scheme_is_ours && PgConnectOptions::from_str(value).is_ok() {
        return Ok(Secret::new(value));
    }
    Err(
        "must be a URL as in postgres://user:password@host:5432/name, with special characters of the password \
         percent-encoded"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_postgres_are_taken() {
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
    fn an_app_login_needs_the_server_named() {
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
