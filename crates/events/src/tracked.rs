//! Declares which columns of a model events may record, and computes the recorded values and changes.

use std::borrow::Borrow;

use std::str::FromStr;

use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, FromQueryResult, IdenStatic, IntoActiveModel, Iterable, ModelTrait,
    QueryFilter, Value,
};
use uuid::Uuid;

use super::event::{Event, ObjectRef};
use super::payload::{FieldChange, FieldChanges, FieldValues, redacted};
use super::sentence::Sentence;
use super::values::{json_same, recorded, same};
use daybook_tenancy::TeamTx;
use daybook_tenancy::error::{Error, Result};

/// What events may record of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldPolicy {
    /// Its values. Events keep them forever.
    Track,
    /// Only that it changed, never the value: recorded as `{"redacted": true}`.
    Redact,
    /// Nothing.
    Ignore,
}

/// A column of a model.
pub type ColumnOf<M> = <<M as ModelTrait>::Entity as EntityTrait>::Column;
/// The active model of a model.
pub type ActiveModelOf<M> = <<M as ModelTrait>::Entity as EntityTrait>::ActiveModel;

/// A model whose changes are recorded as events.
///
/// Its table has the columns `team_id uuid` and `id uuid`; its entity declares only `id` as key.
///
/// ```
/// # use daybook_events::*;
/// # mod campaign {
/// #     use sea_orm::entity::prelude::*;
/// #     #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
/// #     #[sea_orm(table_name = "campaigns")]
/// #     pub struct Model {
/// #         #[sea_orm(primary_key, auto_increment = false)]
/// #         pub id: Uuid,
/// #         pub team_id: Uuid,
/// #         pub name: String,
/// #         pub state: String,
/// #         pub budget: i64,
/// #         pub client_email: Option<String>,
/// #         pub created_at: DateTimeUtc,
/// #         pub updated_at: DateTimeUtc,
/// #     }
/// #     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
/// #     pub enum Relation {}
/// #     impl ActiveModelBehavior for ActiveModel {}
/// # }
/// impl Tracked for campaign::Model {
///     const OBJECT_TYPE: &'static str = "campaign";
///     fn label(&self) -> String {
///         self.name.clone()
///     }
///     fn field_policy(column: &campaign::Column) -> FieldPolicy {
///         use campaign::Column as C; // not `use Column::*`: a renamed variant would become a binding that matches all
///         match column {
///             C::Id | C::TeamId | C::CreatedAt | C::UpdatedAt => FieldPolicy::Ignore,
///             C::Name | C::State | C::Budget => FieldPolicy::Track,
///             C::ClientEmail => FieldPolicy::Redact,
///         }
///     }
/// }
/// # fn main() {}
/// ```
pub trait Tracked:
    ModelTrait<Entity: EntityTrait<Model = Self>> + FromQueryResult + IntoActiveModel<ActiveModelOf<Self>> + Sync
{
    /// The name of this type of object in events, threads and watches: lower-case letters, digits and `_`.
    const OBJECT_TYPE: &'static str;

    /// Returns the name of this object in sentences.
    fn label(&self) -> String;

    /// Returns what events may record of a column. Write it as a match without a wildcard, so that a new column without
    /// a decision does not compile.
    fn field_policy(column: &ColumnOf<Self>) -> FieldPolicy;

    /// Returns whether the object has a thread.
    fn threadable(&self) -> bool {
        true
    }

    /// Returns the object that this one belongs to. For example, a campaign is the scope of its tasks.
    fn scope(&self) -> Option<ObjectRef> {
        None
    }

    /// Returns the column with the time of deletion, for models that are deleted softly. Its policy should be
    /// [`FieldPolicy::Ignore`], because the event itself records the deletion.
    fn deleted_at() -> Option<ColumnOf<Self>> {
        None
    }

    /// Returns the model's own sentence for an event ("approved", "moved to Done"); `None` for the default sentence.
    /// The text follows the actor's name.
    fn sentence(event: &Event) -> Option<Sentence> {
        let _ = event;
        None
    }
}

impl Event {
    /// Reads the model that the event is about, as it is in the database now; returns `None` if it no longer exists.
    ///
    /// # Errors
    /// [`Error::Internal`] if the event is about another type of object than `M`.
    pub async fn object<M: Tracked>(&self, tx: &TeamTx) -> Result<Option<M>> {
        if self.object_type != M::OBJECT_TYPE {
            return Err(Error::internal(format!(
                "the event is about a {}, not about a {}",
                self.object_type,
                M::OBJECT_TYPE
            )));
        }
        let id = Uuid::try_parse(&self.object_id).map_err(Error::internal)?;
        let found = M::Entity::find()
            .filter(column_named::<M>("team_id")?.eq(tx.team_id()))
            .filter(column_named::<M>("id")?.eq(id))
            .one(tx)
            .await?;
        Ok(found)
    }
}

/// The tracked columns that an event records.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Track<C> {
    /// All columns that the model's policy allows.
    All,
    /// These columns, if the model's policy allows them.
    Only(Vec<C>),
}

impl<C> Track<C> {
    /// Selects these columns: `Track::only([C::Name, C::Budget])`.
    pub fn only(columns: impl IntoIterator<Item = C>) -> Self {
        Self::Only(columns.into_iter().collect())
    }
}

impl<C: ColumnTrait> Track<C> {
    pub(super) fn includes(&self, column: &C) -> bool {
        match self {
            Self::All => true,
            Self::Only(columns) => columns.iter().any(|c| c.as_str() == column.as_str()),
        }
    }
}

/// Returns the columns that an event of `M` records under `track`, each with its policy.
pub(super) fn recorded_columns<M: Tracked>(
    track: &Track<ColumnOf<M>>,
) -> impl Iterator<Item = (ColumnOf<M>, FieldPolicy)> {
    ColumnOf::<M>::iter()
        .map(|column| {
            let policy = M::field_policy(&column);
            (column, policy)
        })
        .filter(move |(column, policy)| *policy != FieldPolicy::Ignore && track.includes(column))
}

/// Returns the values of a model that events may record. Call it **before** a change, to compare with the values after
/// it.
pub fn capture_values<M: Tracked>(model: &M, track: impl Borrow<Track<ColumnOf<M>>>) -> FieldValues {
    recorded_columns::<M>(track.borrow())
        .map(|(column, policy)| {
            let value = match policy {
                FieldPolicy::Redact => redacted(),
                _ => recorded(model.get(column)),
            };
            (column.as_str().to_owned(), value)
        })
        .collect()
}

/// Returns the fields that differ between two captures. A field that only one of them has is compared with null.
///
/// All redacted values look the same, so captures don't show whether one has changed. The helpers therefore compare the
/// models instead.
pub fn make_field_changes(old: &FieldValues, new: &FieldValues) -> FieldChanges {
    let null = serde_json::Value::Null;
    old.keys()
        .chain(new.keys().filter(|name| !old.contains_key(*name)))
        .filter_map(|name| {
            let (before, after) = (old.get(name).unwrap_or(&null), new.get(name).unwrap_or(&null));
            let change = || FieldChange {
                old: before.clone(),
                new: after.clone(),
            };
            (!json_same(before, after)).then(|| (name.clone(), change()))
        })
        .collect()
}

/// Returns the recorded fields that differ between two states of one row, by comparing typed values.
pub(super) fn model_changes<M: Tracked>(old: &M, new: &M, track: &Track<ColumnOf<M>>) -> FieldChanges {
    recorded_columns::<M>(track)
        .filter_map(|(column, policy)| {
            let (before, after) = (old.get(column), new.get(column));
            if same(&before, &after) {
                return None;
            }
            let change = match policy {
                FieldPolicy::Redact => FieldChange::redacted(),
                _ => FieldChange {
                    old: recorded(before),
                    new: recorded(after),
                },
            };
            Some((column.as_str().to_owned(), change))
        })
        .collect()
}

/// Returns a model's column by its name in the database.
///
/// # Errors
/// [`Error::Internal`] that names the model and the missing column.
pub(super) fn column_named<M: Tracked>(name: &str) -> Result<ColumnOf<M>> {
    find_column::<M>(name).ok_or_else(|| {
        Error::internal(format!(
            "{} is tracked, so its entity must have a column {name}",
            M::OBJECT_TYPE
        ))
    })
}

pub(super) fn find_column<M: Tracked>(name: &str) -> Option<ColumnOf<M>> {
    ColumnOf::<M>::from_str(name).ok()
}

/// Returns the object's id as events hold it.
///
/// # Errors
/// [`Error::Internal`] if the model has no column `id`.
pub(super) fn object_id<M: Tracked>(model: &M) -> Result<String> {
    match model.get(column_named::<M>("id")?) {
        Value::Uuid(Some(id)) => Ok(id.to_string()),
        other => Err(Error::internal(format!(
            "the id of a {} must be a UUID, not {other:?}",
            M::OBJECT_TYPE
        ))),
    }
}

/// Sets a column of an active model.
///
/// # Errors
/// [`Error::Internal`] if the value is not of the column's type.
pub(super) fn set_column<A: ActiveModelTrait>(
    active: &mut A,
    column: <A::Entity as EntityTrait>::Column,
    value: Value,
) -> Result<()> {
    active.try_set(column, value).map_err(Error::internal)
}
