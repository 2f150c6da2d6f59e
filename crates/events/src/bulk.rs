//! Writes many models and their events with few statements. Up to five thousand rows that set the same columns need a
//! constant number of statements. Each further five thousand rows need one more INSERT of models and one of events.
//! Rows with a value that can't be sent as JSON need more, because each of their values is a bind.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue, ColumnTrait, EntityTrait, IdenStatic, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select, Value,
};
use uuid::Uuid;

use super::emit::{ROWS_PER_STATEMENT, emit_events};
use super::payload::{CreatedEventData, UpdatedEventData};
use super::recordset::{self, Columns, columns_of};
use super::rows::{
    changed_columns, deletion_by_hand, fetch_returned, id_is_any, prepare_insert, refuse_unstorable_values, returning,
    returning_after, touch, unreadable_columns,
};
use super::tracked::{ActiveModelOf, Track, Tracked, capture_values, column_named, model_changes, set_column};
use daybook_tenancy::TeamTx;
use daybook_tenancy::error::{Error, Result};

/// The maximum number of values that one statement can bind.
const MAX_BINDS: usize = 65_535;

/// Inserts models and records the creation of each. The results are in the order of `models`.
///
/// Rows that set different columns go in separate statements, so that each column that isn't set gets the database's
/// default.
///
/// # Errors
/// As [`create_model_with_event`](super::create_model_with_event); the field of a refused row is `[index].field`.
pub async fn create_models_with_events<E, M, A>(tx: &TeamTx, models: Vec<A>, track: Track<E::Column>) -> Result<Vec<M>>
where
    E: EntityTrait<Model = M, ActiveModel = A>,
    M: Tracked<Entity = E>,
    A: ActiveModelTrait<Entity = E> + ActiveModelBehavior + Send,
{
    let mut order = Vec::with_capacity(models.len());
    let mut groups: BTreeMap<Columns, Vec<A>> = BTreeMap::new();
    for (index, mut model) in models.into_iter().enumerate() {
        prepare_insert::<M, A>(tx, &mut model).map_err(|error| with_row_index(index, error))?;
        order.push(active_id::<M, A>(&model)?);
        groups.entry(columns_of::<M, A>(&model)).or_default().push(model);
    }
    let mut created = HashMap::with_capacity(order.len());
    for (columns, mut models) in groups {
        let can_be_sent = columns.iter().all(|(_, in_record)| in_record.is_some());
        let rows_per_statement = if can_be_sent {
            ROWS_PER_STATEMENT
        } else {
            MAX_BINDS / columns.len().max(1)
        };
        while !models.is_empty() {
            let rest = models.split_off(rows_per_statement.min(models.len()));
            let written: Vec<M> = if can_be_sent {
                recordset::insert(tx, &columns, &models).await?
            } else {
                let mut insert = E::insert_many(models).into_query();
                insert.returning(returning::<M>());
                fetch_returned(tx, &insert).await?
            };
            for model in written {
                created.insert(model_id(&model)?, model);
            }
            models = rest;
        }
    }
    let created: Vec<_> = order.iter().filter_map(|id| created.remove(id)).collect();
    let events = created.iter().map(|model| {
        (
            model,
            CreatedEventData {
                initial_values: capture_values(model, &track),
            },
        )
    });
    emit_events(tx, events).await?;
    Ok(created)
}

/// Changes all selected rows in the same way and records, for each row, the values that really changed.
///
/// The rows are locked in the order of their ids and read as they are. Rows that already have the values are not
/// written, and are returned as they are. `select` may filter and limit; its order is replaced by the order of the ids.
/// Softly deleted rows are not selected.
///
/// # Errors
/// As [`update_model_with_event`](super::update_model_with_event), but a row that doesn't exist or is deleted is not an
/// error. `changes` may not set the model's `deleted_at` at all.
pub async fn update_models_with_events<E, M>(
    tx: &TeamTx,
    select: Select<E>,
    changes: E::ActiveModel,
    track: Track<E::Column>,
) -> Result<Vec<M>>
where
    E: EntityTrait<Model = M>,
    M: Tracked<Entity = E>,
    E::ActiveModel: ActiveModelBehavior + Send,
{
    refuse_unstorable_values::<M, _>(&changes)?;
    let (id, team_id) = (column_named::<M>("id")?, column_named::<M>("team_id")?);
    let mut select = select.filter(team_id.eq(tx.team_id()));
    if let Some(deleted_at) = M::deleted_at() {
        if !changes.is_not_set(deleted_at) {
            return Err(deletion_by_hand(deleted_at));
        }
        select = select.filter(deleted_at.is_null());
    }
    QueryTrait::query(&mut select).clear_order_by();
    let mut models = select.order_by_asc(id).lock_exclusive().all(tx).await?;

    let mut ids = Vec::new();
    let mut columns: BTreeMap<&'static str, (E::Column, Value)> = BTreeMap::new();
    for model in &models {
        let changed = changed_columns(tx, model, &changes)?;
        if !changed.is_empty() {
            ids.push(model_id(model)?);
        }
        columns.extend(
            changed
                .into_iter()
                .map(|(column, value)| (column.as_str(), (column, value))),
        );
    }
    if ids.is_empty() {
        return Ok(models);
    }
    let mut update = <ActiveModelOf<M> as ActiveModelTrait>::default();
    for (column, value) in columns.into_values() {
        set_column(&mut update, column, value)?;
    }
    touch::<M>(tx, &mut update)?;
    let mut update = E::update_many()
        .set(update)
        .filter(team_id.eq(tx.team_id()))
        .filter(id_is_any::<M>(ids)?)
        .into_query();
    update.returning(returning_after::<M>(&unreadable_columns(&models)));
    let written: Vec<M> = fetch_returned(tx, &update).await?;
    let mut written: HashMap<Uuid, M> = written
        .into_iter()
        .map(|model| Ok((model_id(&model)?, model)))
        .collect::<Result<_>>()?;

    let mut changed = Vec::with_capacity(written.len());
    for (index, model) in models.iter_mut().enumerate() {
        let Some(new) = written.remove(&model_id(model)?) else {
            continue;
        };
        let changes = model_changes(model, &new, &track);
        *model = new;
        if !changes.is_empty() {
            changed.push((index, UpdatedEventData { changes }));
        }
    }
    emit_events(tx, changed.into_iter().map(|(index, data)| (&models[index], data))).await?;
    Ok(models)
}

fn active_id<M, A>(model: &A) -> Result<Uuid>
where
    M: Tracked<Entity = A::Entity>,
    A: ActiveModelTrait,
{
    match model.get(column_named::<M>("id")?) {
        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => id_of::<M>(value),
        ActiveValue::NotSet => Err(Error::internal("an id is not set")),
    }
}

fn model_id<M: Tracked>(model: &M) -> Result<Uuid> {
    id_of::<M>(model.get(column_named::<M>("id")?))
}

fn id_of<M: Tracked>(id: Value) -> Result<Uuid> {
    match id {
        Value::Uuid(Some(id)) => Ok(id),
        other => Err(Error::internal(format!(
            "the id of a {} must be a UUID, not {other:?}",
            M::OBJECT_TYPE
        ))),
    }
}

fn with_row_index(index: usize, error: Error) -> Error {
    let Error::Invalid(fields) = error else { return error };
    Error::Invalid(
        fields
            .into_iter()
            .map(|field| daybook_tenancy::error::FieldError {
                field: format!("[{index}].{}", field.field),
                detail: field.detail,
            })
            .collect(),
    )
}
