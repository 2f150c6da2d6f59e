//! The private PostgreSQL server of the commands, or the error of a program that is built without it.

#[cfg(feature = "private-postgres")]
pub(super) use crate::postgres::PrivatePostgres;
#[cfg(not(feature = "private-postgres"))]
pub(super) use absent::PrivatePostgres;

#[cfg(not(feature = "private-postgres"))]
mod absent {
    use std::path::Path;

    use sqlx::postgres::PgConnectOptions;

    /// Has the interface of `crate::postgres::PrivatePostgres`, but can't be started, so there is no value of it.
    pub(in crate::cli) enum PrivatePostgres {}

    impl PrivatePostgres {
        pub(in crate::cli) async fn start(_data_dir: &Path) -> Result<Self, String> {
            Err(
                "DATABASE_URL is not set, and this program can't start a PostgreSQL server: it is built without \
                 daybook's feature `private-postgres`. Set DATABASE_URL, or build it with the feature"
                    .to_owned(),
            )
        }

        pub(in crate::cli) fn url(&self) -> String {
            match *self {}
        }

        pub(in crate::cli) fn owner_options(&self) -> PgConnectOptions {
            match *self {}
        }

        pub(in crate::cli) async fn stop(self) -> std::io::Result<()> {
            match self {}
        }
    }
}
