//! A campaign, and what events may record of it.

use sea_orm::entity::prelude::*;

use crate::prelude::*;

/// The sample domain: a campaign with a budget.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, ToSchema)]
#[schema(as = Campaign)]
#[sea_orm(table_name = "campaigns")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    #[schema(value_type = String, format = Uuid)]
    pub id: Uuid,
    /// The team.
    #[schema(value_type = String, format = Uuid)]
    pub team_id: Uuid,
    /// The campaign's name.
    pub name: String,
    /// `draft`, `active`, `paused`, `approved` or `done`.
    pub state: String,
    /// The amount that may be spent, zero or more.
    #[sea_orm(column_type = "Decimal(None)")]
    #[schema(value_type = String, example = "250")]
    pub budget: Decimal,
    /// The client's address; events never record it.
    pub client_email: Option<String>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: DateTimeUtc,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: DateTimeUtc,
}

/// No relations: a campaign belongs only to a team.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Tracked for Model {
    const OBJECT_TYPE: &'static str = "campaign";

    fn label(&self) -> String {
        self.name.clone()
    }

    fn field_policy(column: &Column) -> FieldPolicy {
        use Column as C;
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
