//! For tests: a team with people, on a database of its own, and what was recorded there.
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
//! **The server.** All tests of a process share one PostgreSQL. It is the one that `DAYBOOK_TEST_DATABASE_URL`
//! names, whose login must have CREATEDB and CREATEROLE and must not be a superuser: a test that runs as a
//! superuser proves nothing about isolation. Without that variable it is a private server in a temporary
//! folder, started by the first test that asks; it ends with the process, however that ends, and its folder
//! goes with it. A runner that starts a process for each test (nextest) would start a server for each: give it
//! `DAYBOOK_TEST_DATABASE_URL`.
//!
//! **The databases.** Each [`TestDb`] is a copy of a template that was migrated once in the process, so it costs
//! some ten milliseconds. It is dropped with its last [`TestDb`] and [`TestTeam`]. On a server of your own, what
//! a killed run left behind is dropped by a run that starts six hours later or more.
//!
//! **The roles.** Tests connect as the service does: [`TestDb::database`] as `daybook_app`, migrations as an
//! owner whom row-level security binds. [`TestDb::app_connection`] and [`TestDb::owner`] are those roles without
//! a `TeamTx`: an adversary's connections.
//!
//! **Forgotten commits.** A request or a job that answers success although a transaction that had written was dropped
//! without `commit()` or `rollback()` panics on these databases. (In service it is a warning, and an error in the wide
//! event.)
//!
//! Everything here panics instead of returning an error, since a test has nothing else to do with one.

mod lines;
mod people;
mod recording;
mod server;
mod test_db;

pub use lines::{EventSource, compare, event_line};
pub use people::{TestMember, TestTeam};
pub use recording::{RECORDER, Recording};
pub use test_db::TestDb;

/// Compares what was recorded, in order, with one line for each event, as [`event_line`] writes them.
///
/// The events are those of a [`TestTeam`] (what is committed), of a `&TeamTx` (what it sees), or any slice or
/// `Vec` of [`Event`](crate::events::Event)s. Lists are compared whole, and a difference is shown line by line.
///
/// ```ignore
/// assert_events!(team, [
///     "CREATED campaign “Spring”",
///     "UPDATED campaign “Spring”: budget 100 → 250, client_email redacted",
///     "STATE_CHANGED campaign “Spring”: draft → approved (looks good)",
/// ]);
/// ```
#[macro_export]
macro_rules! assert_events {
    ($source:expr, [$($line:expr),* $(,)?] $(,)?) => {{
        let expected: ::std::vec::Vec<::std::string::String> = ::std::vec![$(::std::string::String::from($line)),*];
        // The panic is here, not in a function, so that it names the test's line.
        if let ::std::result::Result::Err(difference) = $crate::testing::compare(&$source, &expected).await {
            ::std::panic!("{difference}");
        }
    }};
}

/// Panics with all of an error, its causes included, which Daybook's errors keep out of their own sentence.
fn must<T, E: std::error::Error>(outcome: Result<T, E>, doing: &str) -> T {
    outcome.unwrap_or_else(|error| {
        let mut told = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            told.push_str(": ");
            told.push_str(&cause.to_string());
            source = cause.source();
        }
        panic!("could not {doing}: {told}")
    })
}
