//! The model of a guest, and what events may record of it.

use daybook::prelude::*;
use sea_orm::entity::prelude::*;

/// A guest: the name, and the number of people who came with them.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, ToSchema)]
#[sea_orm(table_name = "guests")]
#[schema(as = Guest)]
pub struct Model {
    /// The id, a UUIDv7 that the helpers fill in.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team, which the helpers fill in.
    pub team_id: Uuid,
    /// The guest's name.
    pub name: String,
    /// The number of people who came with the guest.
    pub company: i32,
    /// Redacted: events record only that it changed.
    pub phone: Option<String>,
    /// Set when the guest leaves; the row stays.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<DateTimeUtc>,
}

/// No relations: a guest belongs only to a team.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Tracked for Model {
    const OBJECT_TYPE: &'static str = "guest";

    fn label(&self) -> String {
        self.name.clone()
    }

    fn field_policy(column: &Column) -> FieldPolicy {
        use Column as C;
        match column {
            C::Id | C::TeamId | C::DeletedAt => FieldPolicy::Ignore,
            C::Name | C::Company => FieldPolicy::Track,
            C::Phone => FieldPolicy::Redact,
        }
    }

    fn deleted_at() -> Option<Column> {
        Some(Column::DeletedAt)
    }

    fn sentence(event: &Event) -> Option<Sentence> {
        match event.event_type {
            EventType::Created => Some(Sentence::text("let in ").object(event)),
            EventType::Deleted => Some(Sentence::text("saw off ").object(event)),
            _ => None,
        }
    }
}
