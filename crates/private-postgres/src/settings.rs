//! Settings of the program that needs a server: its name, and the initial contents of its database.

use std::fmt;

use super::error::StartError;
use super::programs::SearchPath;

/// Maximum length of a name. The role `<name>_owner` must fit PostgreSQL's 63 bytes, and the socket's path 80.
const MAX_NAME_BYTES: usize = 32;

/// The settings of a private server.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) name: String,
    pub(super) search: Option<SearchPath>,
    pub(super) set_up: Vec<String>,
}

impl Settings {
    /// Creates the settings for the program `name`, such as `shop`. The name decides:
    ///
    /// - the database, `shop`, and the role that owns it, `shop_owner`
    /// - the folder of the cluster if the program runs as root, below `/var/lib/shop`
    /// - the variable with the folder of PostgreSQL's programs, `SHOP_PG_BIN`
    /// - the variables that are hidden from the server, because they may contain secrets: `SHOP_…`
    /// - the advice in errors. It mentions `SHOP_DATA_DIR` for the data folder and `DATABASE_URL` for another server,
    ///   so the program should read both.
    ///
    /// A name has 1 to 32 of the characters `a-z`, `0-9` and `_`, a letter first. An invalid name is an error when the
    /// server is started ([`StartError::Name`]).
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            search: None,
            set_up: Vec::new(),
        }
    }

    /// Sets where PostgreSQL's programs are searched. The default is [`SearchPath::from_env`] with the variable
    /// `<NAME>_PG_BIN`.
    #[must_use]
    pub fn search(mut self, search: SearchPath) -> Self {
        self.search = Some(search);
        self
    }

    /// Adds SQL that the superuser runs in the program's database at each start, in the order of the calls: for roles
    /// and extensions, which the owner may not create. It must have the same result however often it runs.
    #[must_use]
    pub fn set_up(mut self, sql: impl Into<String>) -> Self {
        self.set_up.push(sql.into());
        self
    }
}

/// The name of a program, in the form that [`Settings::new`] describes.
#[derive(Debug, Clone)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn new(name: &str) -> Result<Self, StartError> {
        let of_postgres = ["postgres", "template0", "template1"].contains(&name) || name.starts_with("pg_");
        let well_formed = (1..=MAX_NAME_BYTES).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if of_postgres || !well_formed {
            return Err(StartError::Name { name: name.to_owned() });
        }
        Ok(Self(name.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the role that owns the database.
    pub(super) fn owner(&self) -> String {
        format!("{}_owner", self.0)
    }

    /// Returns the database.
    pub(super) fn database(&self) -> &str {
        &self.0
    }

    /// Returns the program's environment variable with this ending.
    pub(super) fn variable(&self, ending: &str) -> String {
        variable(&self.0, ending)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns an environment variable of a program: `SHOP_PG_BIN`.
pub(super) fn variable(program: &str, ending: &str) -> String {
    format!("{}_{ending}", program.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_postgres_or_a_shell_would_refuse_are_refused() {
        for name in ["shop", "a", "shop_2", &"a".repeat(32)] {
            assert!(Name::new(name).is_ok(), "{name}");
        }
        let refused = [
            "",
            "2shop",
            "_shop",
            "Shop",
            "sh-op",
            "sh\"op",
            "postgres",
            "template1",
            "pg_shop",
        ];
        for name in refused.into_iter().chain([&*"a".repeat(33)]) {
            let error = Name::new(name).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }

    #[test]
    fn the_name_decides_variables_and_roles() -> Result<(), StartError> {
        let name = Name::new("shop")?;
        assert_eq!(name.variable("PG_BIN"), "SHOP_PG_BIN");
        assert_eq!((name.owner().as_str(), name.database()), ("shop_owner", "shop"));
        Ok(())
    }
}
