//! The sample's table `campaigns` as a tracked model: deleted for good.

use daybook::events::{FieldPolicy, Tracked};
use sea_orm::entity::prelude::*;

/// A campaign.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "campaigns")]
#[expect(missing_docs, reason = "the columns speak for themselves")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub team_id: Uuid,
    pub name: String,
    pub state: String,
    #[sea_orm(column_type = "Decimal(None)")]
    pub budget: Decimal,
    pub client_email: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

/// None.
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
}
