//! The sample domain: campaigns with a budget. It shows what an application's own module looks like.
//!
//! It uses what such a module has: Daybook's prelude, and SeaORM's preludes for the entity and the migration.
//! [`campaign`] is the entity, with what events may record of it. `migration` has the schema; one line makes the table
//! a team table. `routes` has the handlers and their bodies, `fields` the types of request fields, `state` the states
//! and transitions, and `store` the queries. `seed` fills the sample team. No code here posts messages or notifies
//! people: the helpers record changes as events, and consumers do the rest.
//!
//! **The life of a change.** The row is locked, the client's `If-Match` is compared with its version, the helper writes
//! the changed columns and the event, and all of it commits together.

pub mod campaign;
mod fields;
mod migration;
mod routes;
mod seed;
mod state;
mod store;

pub use migration::Migrator;
pub use routes::routes;
pub use seed::seed;
pub use state::CampaignState;
