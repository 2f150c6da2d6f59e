//! A guest, and what may be recorded of one.

use daybook::prelude::*;
use sea_orm::entity::prelude::*;

/// A guest: who came, and how many with them.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, ToSchema)]
#[sea_orm(table_name = "guests")]
#[schema(as = Guest)]
pub struct Model {
    /// UUIDv7, filled in by the helpers.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team, filled in by the helpers.
    pub team_id: Uuid,
    /// Who came.
    pub name: String,
    /// How many came with them.
    pub company: i32,
    /// Never recorded: only that it changed.
    pub phone: Option<String>,
    /// Set when they left the book; the row stays.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<DateTimeUtc>,
}

/// Guests belong to nothing but their team.
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
