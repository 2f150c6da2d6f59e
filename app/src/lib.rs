//! Daybook records every change to a team's domain objects as a typed event, under row-level security, in the same
//! commit as the change.
//!
//! # Quickstart
//!
//! A model, a route and a consumer of a program's own:
//!
//! ```
//! use daybook::prelude::*;
//!
//! mod guest {
//!     use daybook::prelude::*;
//!     use sea_orm::entity::prelude::*;
//!
//!     #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
//!     #[sea_orm(table_name = "guests")]
//!     pub struct Model {
//!         #[sea_orm(primary_key, auto_increment = false)]
//!         pub id: Uuid,
//!         pub team_id: Uuid,
//!         pub name: String,
//!         pub phone: Option<String>,
//!     }
//!
//!     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
//!     pub enum Relation {}
//!
//!     impl ActiveModelBehavior for ActiveModel {}
//!
//!     /// What events may record. A new column without a decision does not compile.
//!     impl Tracked for Model {
//!         const OBJECT_TYPE: &'static str = "guest";
//!
//!         fn label(&self) -> String {
//!             self.name.clone()
//!         }
//!
//!         fn field_policy(column: &Column) -> FieldPolicy {
//!             use Column as C;
//!             match column {
//!                 C::Id | C::TeamId => FieldPolicy::Ignore,
//!                 C::Name => FieldPolicy::Track,
//!                 C::Phone => FieldPolicy::Redact,
//!             }
//!         }
//!     }
//! }
//!
//! #[derive(Deserialize)]
//! struct NewGuest {
//!     name: String,
//!     phone: Option<String>,
//! }
//!
//! /// `POST /v1/teams/{team_id}/guests`: the guest, the event and the consumers' rows commit together.
//! async fn let_in(team: Team, Json(new): Json<NewGuest>) -> Result<impl IntoResponse> {
//!     let tx = team.begin().await?;
//!     let guest = guest::ActiveModel {
//!         name: Set(new.name),
//!         phone: Set(new.phone),
//!         ..Default::default()
//!     };
//!     let guest = create_model_with_event(&tx, guest, Track::All).await?;
//!     tx.commit().await?;
//!     Ok((StatusCode::CREATED, Json(guest)))
//! }
//!
//! /// Runs in the transaction of [`let_in`]. An error rolls it back.
//! #[event_consumer(EventType::Created, object_type = "guest")]
//! async fn refuse_strangers(_tx: &TeamTx, event: &Event) -> ConsumerResult {
//!     if event.object_label == "Stranger" {
//!         return Err(Error::conflict("stranger", "a guest has a name").into());
//!     }
//!     Ok(())
//! }
//!
//! fn app() -> daybook::App {
//!     let routes = axum::Router::new().route("/guests", axum::routing::post(let_in));
//!     daybook::App::new().model::<guest::Model>().routes(routes)
//! }
//!
//! # fn main() {
//! # let _ = app();
//! # let (id, team_id) = (Uuid::now_v7(), Uuid::now_v7());
//! let guest = guest::Model { id, team_id, name: "Grace".into(), phone: Some("555-0100".into()) };
//! let recorded = capture_values(&guest, &Track::All);
//! assert_eq!(
//!     serde_json::to_value(recorded).unwrap(),
//!     serde_json::json!({"name": "Grace", "phone": {"redacted": true}})
//! );
//! # let consumers = Consumers::linked().unwrap();
//! # assert!(consumers.iter().any(|consumer| consumer.name.ends_with("refuse_strangers")));
//! # }
//! ```
//!
//! The program's `main` has a whole command line. `cargo run -- dev` starts it with a database of its own and a sample
//! team:
//!
//! ```no_run
//! # fn app() -> daybook::App {
//! #     daybook::App::new()
//! # }
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     app().run().await
//! }
//! ```
//!
//! The folder `examples/guestbook` of the repository has this program with its migration, its OpenAPI document, a job
//! and tests; `docs/tutorial.md` builds it step by step.
//!
//! # Modules
//!
//! In reading order:
//!
//! - [`prelude`]: the imports for the author of a route, a model or a consumer.
//! - [`App`]: puts a program's models, migrations, routes and consumers together and runs it.
//! - [`migration`]: the schema, and functions for a program's own migrations.
//! - [`tenancy`]: teams and their isolation; [`tenancy::TeamTx`] is the only way to write team rows.
//! - [`events`]: the record of what changed, by whom and why; the `*_with_event` functions and the consumers.
//! - [`threads`], [`notifications`]: what people read. Consumers write both, with the same means as a user's consumers.
//! - [`signals`]: notifies other tasks and processes after a commit.
//! - [`live`]: the WebSocket that sends threads and notifications to clients as they change.
//! - [`jobs`]: background work as sessions with actions; the queue, and the relay that fills it.
//! - [`runs`]: programs' output as durable logs with a summary.
//! - [`analytics`]: counts events after the commit. [`housekeeping`]: the service's own jobs.
//! - [`stories`]: everything that one request caused.
//! - [`auth`]: who presents a credential: JWTs, API keys, tickets. [`teams`]: teams, members, invitations and API keys.
//! - [`http`]: the extractors and problem documents for routes. [`server`]: the router, the middleware, the metrics.
//! - [`json`]: limits the depth of JSON, and reads stored JSON.
//! - [`wide_events`]: one JSON line for each request. It is the crate `daybook-wide-events`.
//! - [`campaigns`]: the sample domain, an example of a user's own slice.
//! - [`config`]: the settings. [`clock`]: the time, which tests can move. [`error`]: the errors and what a client
//!   receives. [`testing`]: a team on its own database.
//!
//! [`postgres`] starts the private PostgreSQL server; it needs the feature `private-postgres`. [`campaigns`] and
//! [`server`] need the feature `server`, [`testing`] the feature `testing`.
//!
//! Private modules: `app` composes the program, `cli` is its command line, `terminal` escapes what commands print.

// `#[event_consumer]` uses the crate's name, as in a user's crate.
extern crate self as daybook;

pub mod analytics;
mod app;
pub mod auth;
#[cfg(feature = "server")]
pub mod campaigns;
#[cfg(feature = "cli")]
mod cli;
pub mod config;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod housekeeping;
pub mod http;
pub mod jobs;
pub mod live;
pub mod notifications;
#[cfg(feature = "private-postgres")]
pub mod postgres;
pub mod prelude;
pub mod runs;
#[cfg(feature = "server")]
pub mod server;
pub mod signals;
pub mod stories;
pub mod teams;
#[cfg(feature = "cli")]
mod terminal;
#[cfg(feature = "testing")]
pub mod testing;
pub mod threads;

pub use app::App;
#[cfg(feature = "cli")]
pub use app::Seeder;
/// Events, their consumers, and the `*_with_event` functions: the crate `daybook-events`.
pub use daybook_events as events;
/// Functions for a user's migrations: `enable_team_rls`, `for_each_team`.
pub use daybook_migration as migration;
/// Teams, and the isolation between them: the crate `daybook-tenancy`.
pub use daybook_tenancy as tenancy;
pub(crate) use daybook_tenancy::text;
pub use daybook_tenancy::{Error, Result, clock, error, json};
/// One JSON line for each request: the crate `daybook-wide-events`.
pub use daybook_wide_events as wide_events;
