//! Support for tests: a database per test, teams with people, and assertions on recorded events.
//!
//! ```no_run
//! use daybook::assert_events;
//! use daybook::events::{CustomEventData, Consumers, emit_event};
//! use daybook::tenancy::Role;
//! use daybook::testing::{RECORDER, Recording, TestDb};
//! # async fn test<M: daybook::events::Tracked>(guest: M) -> Result<(), Box<dyn std::error::Error>> {
//! let db = TestDb::new().await;
//! let team = db.team("Acme").await;
//! let ada = team.member("ada", Role::Owner).await;
//! let database = db.database_with(Consumers::of([RECORDER])?).await;
//!
//! let tx = database.begin(&ada.context).await?;
//! emit_event(&tx, &guest, CustomEventData { name: "arrived".into(), data: true.into() }).await?;
//! tx.commit().await?;
//!
//! assert_events!(team, ["CUSTOM arrived guest “Grace”"]);
//! assert_eq!(Recording::of(&database).calls().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! **The server.** All tests of a process share one PostgreSQL server. If `DAYBOOK_TEST_DATABASE_URL` is set, it is
//! that server. Its login must have CREATEDB and CREATEROLE and must not be a superuser, because a test that runs as a
//! superuser proves nothing about isolation. Without the variable, the first test starts a private server in a
//! temporary folder. The server and the folder are removed when the process ends, also after a crash. A runner that
//! starts one process per test (nextest) would start one server per test: set `DAYBOOK_TEST_DATABASE_URL` for it.
//!
//! **The databases.** Each [`TestDb`] is a copy of a template that is migrated once per process, so it takes about ten
//! milliseconds. It is dropped with its last [`TestDb`] and [`TestTeam`]. On the server in `DAYBOOK_TEST_DATABASE_URL`,
//! databases that a killed run left behind are dropped by a run that starts at least six hours later.
//!
//! **The roles.** Tests connect like the service: [`TestDb::database`] as `daybook_app`, migrations as an owner who is
//! subject to row-level security. [`TestDb::app_connection`] and [`TestDb::owner`] connect as these roles without a
//! `TeamTx`, as an attacker might.
//!
//! **Forgotten commits.** If a request or a job succeeds, but has dropped a transaction with writes without calling
//! `commit()` or `rollback()`, it panics on these databases. (In production it is a warning, and an error in the wide
//! event.)
//!
//! The functions here panic instead of returning errors, because a test can't handle errors.

mod expect;
mod lines;
mod people;
mod recording;
mod server;
mod test_db;

pub use crate::assert_events;
pub use lines::{EventSource, compare, event_line};
pub use people::{TestMember, TestTeam};
pub use recording::{RECORDER, Recording};
pub use test_db::TestDb;

/// Compares the recorded events, in order, with one line for each event, as [`event_line`] formats them.
///
/// The events are those of a [`TestTeam`] (the committed ones), of a `&TeamTx` (those visible to it), or any slice or
/// `Vec` of [`Event`](crate::events::Event)s. Complete lists are compared, and the panic shows the difference by line.
///
/// ```no_run
/// # use daybook::assert_events;
/// # async fn test(team: &daybook::testing::TestTeam) {
/// assert_events!(team, [
///     "CREATED campaign “Spring”",
///     "UPDATED campaign “Spring”: budget 100 → 250, client_email redacted",
///     "STATE_CHANGED campaign “Spring”: draft → approved (looks good)",
/// ]);
/// # }
/// ```
#[macro_export]
macro_rules! assert_events {
    ($source:expr, [$($line:expr),* $(,)?] $(,)?) => {{
        let expected: ::std::vec::Vec<::std::string::String> = ::std::vec![$(::std::string::String::from($line)),*];
        // The panic is in the macro and not in a function, so that it names the line of the test.
        if let ::std::result::Result::Err(difference) = $crate::testing::compare(&$source, &expected).await {
            ::std::panic!("{difference}");
        }
    }};
}
