//! The sample domain: campaigns with a budget. It shows what an application's own module looks like.
//!
//! It uses only Daybook's prelude. `routes` has the handlers and their bodies, `fields` the types of request fields,
//! `state` the states and transitions, and `store` the queries. One line in its migration makes the table a team table.
//! Nothing here posts messages or notifies people: the helpers record changes as events, and consumers do the rest.
//!
//! **The life of a change.** The row is locked, the client's `If-Match` is compared with its version, the helper writes
//! the changed columns and the event, and all of it commits together.

mod fields;
mod routes;
mod sample;
mod state;
mod store;

use daybook_entity::campaign;

use crate::prelude::*;

pub use routes::routes;
pub use sample::seed;
pub use state::CampaignState;

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
