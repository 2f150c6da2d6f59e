//! The settings of the process as a whole, and those that only tests read.

use std::path::PathBuf;

use super::settings::Settings;

/// The log filter if `DAYBOOK_LOG` is not set.
pub(crate) const DEFAULT_LOG_FILTER: &str = "info,sqlx=warn,sea_orm=warn,graphile_worker=warn";

/// Reads the data folder, and declares the settings that are read before or without [`Config`](super::Config).
pub(super) fn read_data_dir(settings: &mut Settings<'_>) -> PathBuf {
    settings.group("Process");
    let data_dir = settings
        .setting("DAYBOOK_DATA_DIR", "The folder for data that isn't in Postgres.")
        .text_or(".daybook", "the path of a folder");
    settings
        .setting("DAYBOOK_LOG", "Which log lines are written to stderr.")
        .read_elsewhere_or(
            DEFAULT_LOG_FILTER,
            "levels, with the syntax of RUST_LOG, as in daybook=debug",
        );
    settings
        .setting(
            "DAYBOOK_PG_BIN",
            "The folder of PostgreSQL's programs for the private cluster.",
        )
        .default("those that are found on the machine, or downloaded ones")
        .read_elsewhere("a folder with `postgres` and `initdb`");
    data_dir.into()
}

/// Declares the settings that only tests of this repository read.
pub(super) fn declare_settings_of_tests(settings: &mut Settings<'_>) {
    settings.group("Tests of this repository");
    settings
        .setting("DAYBOOK_BLESS", "Rewrites the golden files instead of comparing them.")
        .read_elsewhere("1");
    settings
        .setting(
            "DAYBOOK_TEST_DATABASE_URL",
            "The server on which tests create their databases.",
        )
        .default("a private cluster for each process")
        .read_by_tests_as_secret("a URL with a login that has CREATEDB and CREATEROLE and is not a superuser");
}
