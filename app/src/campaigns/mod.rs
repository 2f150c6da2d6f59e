//! The sample domain, and what a user's own slice looks like: campaigns with a budget.
//!
//! It knows nothing of Daybook but the prelude. `routes` has the handlers and their bodies, `fields` what a
//! client may put into them, `state` which state may follow which, `store` the queries; the table is made a
//! team table in one line of its migration. Nothing here says "write a message" or "notify": the helpers
//! record what changed, and consumers do the rest.
//!
//! **The life of a change.** The row is locked, the client's `If-Match` is compared with it, the helper writes
//! what differs and its event, and all of it commits together.

mod fields;
mod routes;
mod sample;
mod state;
mod store;

use daybook_entity::campaign;

use crate::prelude::*;

pub use routes::routes;
pub use sample::plant;
pub use state::State;

impl Tracked for campaign::Model {
    const OBJECT_TYPE: &'static str = "campaign";

    fn label(&self) -> String {
        self.name.clone()
    }

    fn field_policy(column: &campaign::Column) -> FieldPolicy {
        use campaign::Column as C;
        match column {
            C::Id | C::TeamId | C::CreatedAt | C::UpdatedAt => FieldPolicy::Ignore,
            C::Name | C::State | C::Budget => FieldPolicy::Track,
            C::ClientEmail => FieldPolicy::Redact,
        }
    }

    fn sentence(event: &Event) -> Option<Sentence> {
        let Ok(EventData::StateChanged(data)) = event.data() else {
            return None;
        };
        match data.state.new.as_str()? {
            "approved" => Some(Sentence::text("approved ").object(event)),
            "done" => Some(Sentence::text("moved ").object(event).and(" to Done")),
            _ => None,
        }
    }
}
