//! The service's private PostgreSQL server: the crate `daybook-private-postgres` with Daybook's name and roles.

use std::ops::Deref;
use std::path::Path;

use daybook_migration::rls::role_scripts;
use daybook_private_postgres::Settings;

pub use daybook_private_postgres::{SearchPath, StartError};

/// A running private server with the database `daybook`, its owner `daybook_owner` and the run-time roles.
///
/// Call [`stop`](Self::stop) at the end: see [`daybook_private_postgres::PrivatePostgres`], to which this dereferences.
#[derive(Debug)]
pub struct PrivatePostgres(daybook_private_postgres::PrivatePostgres);

impl PrivatePostgres {
    /// Starts or adopts the server of `data_dir`, and creates the folder if it is missing. PostgreSQL's programs are
    /// those in `DAYBOOK_PG_BIN`, or else those that are found on the machine.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Each message says what to do.
    pub async fn start(data_dir: &Path) -> Result<Self, StartError> {
        let postgres = daybook_private_postgres::PrivatePostgres::start(data_dir, &settings()).await?;
        Ok(Self(postgres))
    }

    /// Does the same as [`start`](Self::start), with PostgreSQL's programs from `search`.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Each message says what to do.
    pub async fn start_with(data_dir: &Path, search: &SearchPath) -> Result<Self, StartError> {
        let settings = settings().search(search.clone());
        let postgres = daybook_private_postgres::PrivatePostgres::start(data_dir, &settings).await?;
        Ok(Self(postgres))
    }

    /// Stops the server and releases the data folder. Sessions are ended and their open transactions rolled back.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the server still runs after a fast and an immediate shutdown.
    pub async fn stop(self) -> std::io::Result<()> {
        self.0.stop().await
    }
}

impl Deref for PrivatePostgres {
    type Target = daybook_private_postgres::PrivatePostgres;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

fn settings() -> Settings {
    // The first migration could create the roles, too, but this owner has no right to create roles.
    role_scripts("daybook_owner")
        .into_iter()
        .fold(Settings::new("daybook"), Settings::set_up)
}
