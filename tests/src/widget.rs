//! A tracked model with a column of every unusual type, which is deleted softly.

use daybook::events::{FieldPolicy, Tracked};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

/// A widget.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "widgets")]
#[expect(missing_docs, reason = "the columns speak for themselves")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub team_id: Uuid,
    pub name: String,
    pub state: String,
    #[sea_orm(column_type = "Decimal(None)")]
    pub price: Decimal,
    pub due_at: Option<DateTimeWithTimeZone>,
    pub serial: i64,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub extra: Option<Json>,
    pub note: Option<String>,
    #[sea_orm(column_type = "VarBinary(StringLen::None)", nullable)]
    pub picture: Option<Vec<u8>>,
    pub tags: Vec<String>,
    /// Redacted.
    pub secret: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Tracked for Model {
    const OBJECT_TYPE: &'static str = "widget";

    fn label(&self) -> String {
        self.name.clone()
    }

    fn field_policy(column: &Column) -> FieldPolicy {
        use Column as C;
        match column {
            C::Id | C::TeamId | C::CreatedAt | C::UpdatedAt | C::DeletedAt => FieldPolicy::Ignore,
            C::Name | C::State | C::Price | C::DueAt | C::Serial | C::Extra | C::Note | C::Picture | C::Tags => {
                FieldPolicy::Track
            }
            C::Secret => FieldPolicy::Redact,
        }
    }

    fn deleted_at() -> Option<Column> {
        Some(Column::DeletedAt)
    }
}

/// Returns a widget with a name and the database's defaults.
pub fn named(name: &str) -> ActiveModel {
    ActiveModel {
        name: Set(name.to_owned()),
        ..Default::default()
    }
}
