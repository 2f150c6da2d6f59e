//! Writes one model and its event in one transaction.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ColumnTrait, EntityTrait, IdenStatic, QueryFilter, QueryTrait, Value,
};

use super::emit::emit_event;
use super::payload::{
    CreatedEventData, DeletedEventData, FieldChange, RestoredEventData, StateChangedEventData, UpdatedEventData,
};
use super::rows::{
    fetch_returned, is_null, lock, prepare_insert, refuse_deleted, refuse_deletion_by_hand, refuse_unstorable_reason,
    returning, set_now, write_changes,
};
use super::tracked::{
    ActiveModelOf, ColumnOf, FieldPolicy, Track, Tracked, capture_values, column_named, model_changes, set_column,
};
use super::values::recorded;
use daybook_tenancy::TeamTx;
use daybook_tenancy::error::{Error, Result};

/// Inserts a model and records its creation.
///
/// Fills in `id` (UUIDv7) and `team_id` if they are not set. Round trips: the insert, the event, and those of the
/// consumers.
///
/// # Errors
/// [`Error::Invalid`] for another team's `team_id`, a text with U+0000, JSON that is too deep, or a timestamp outside
/// the years 0001 to 9999. The database's refusals, as [`Error::from_database`] classifies them. The errors of
/// [`emit_event`].
pub async fn create_model_with_event<E, M, A>(tx: &TeamTx, mut model: A, track: Track<E::Column>) -> Result<M>
where
    E: EntityTrait<Model = M, ActiveModel = A>,
    M: Tracked<Entity = E>,
    A: ActiveModelTrait<Entity = E> + ActiveModelBehavior + Send,
{
    prepare_insert::<M, A>(tx, &mut model)?;
    let mut insert = E::insert(model).into_query();
    insert.returning(returning::<M>());
    let created: M = fetch_returned(tx, &insert)
        .await?
        .pop()
        .ok_or_else(|| Error::internal("an INSERT returned no row"))?;
    let initial_values = capture_values(&created, &track);
    emit_event(tx, &created, CreatedEventData { initial_values }).await?;
    Ok(created)
}

/// Changes a model and records the values that really changed.
///
/// It locks the row, reads it as it is in the database, compares `changes` with it by typed values, and writes only the
/// columns that differ. If no column differs, it writes nothing. If no tracked column differs, it records no event. If
/// it writes and `changes` doesn't set a column `updated_at`, it sets that column to now. Round trips: the locking
/// read, the update, the event, and those of the consumers.
///
/// # Errors
/// [`Error::NotFound`] if the row no longer exists. [`Error::Conflict`] with the code `deleted` if it is softly
/// deleted: restore it first. [`Error::Invalid`] for a change of `id`, `team_id` or the model's `deleted_at`, which
/// [`delete_model_with_event`] and [`restore_model_with_event`] set. Otherwise as [`create_model_with_event`].
pub async fn update_model_with_event<M: Tracked>(
    tx: &TeamTx,
    model: &M,
    changes: ActiveModelOf<M>,
    track: Track<ColumnOf<M>>,
) -> Result<M>
where
    ActiveModelOf<M>: ActiveModelBehavior + Send,
{
    let old = lock(tx, model).await?;
    refuse_deletion_by_hand(&old, &changes)?;
    refuse_deleted(&old)?;
    let Some(new) = write_changes(tx, &old, &changes).await? else {
        return Ok(old);
    };
    let changes = model_changes(&old, &new, &track);
    if !changes.is_empty() {
        emit_event(tx, &new, UpdatedEventData { changes }).await?;
    }
    Ok(new)
}

/// Moves a model to another state and records that, with a reason. If the model is already in that state, it records no
/// event.
///
/// # Errors
/// [`Error::NotFound`] if the row no longer exists; [`Error::Conflict`] with the code `deleted` if it is softly
/// deleted; [`Error::Internal`] if the model's policy ignores the column.
pub async fn transition_model_with_event<M: Tracked>(
    tx: &TeamTx,
    model: &M,
    column: ColumnOf<M>,
    new_state: impl Into<Value> + Send,
    reason: Option<&str>,
) -> Result<M>
where
    ActiveModelOf<M>: ActiveModelBehavior + Send,
{
    let policy = M::field_policy(&column);
    if policy == FieldPolicy::Ignore {
        return Err(Error::internal(format!(
            "{} is not tracked, so its transitions can't be recorded",
            column.as_str()
        )));
    }
    refuse_unstorable_reason(reason)?;
    let mut changes = <ActiveModelOf<M> as ActiveModelTrait>::default();
    set_column(&mut changes, column, new_state.into())?;
    let old = lock(tx, model).await?;
    refuse_deletion_by_hand(&old, &changes)?;
    refuse_deleted(&old)?;
    let Some(new) = write_changes(tx, &old, &changes).await? else {
        return Ok(old);
    };
    let state = match policy {
        FieldPolicy::Redact => FieldChange::redacted(),
        _ => FieldChange {
            old: recorded(old.get(column)),
            new: recorded(new.get(column)),
        },
    };
    emit_event(
        tx,
        &new,
        StateChangedEventData {
            state,
            reason: reason.map(str::to_owned),
        },
    )
    .await?;
    Ok(new)
}

/// Deletes a model and records its last values: softly if the model has a `deleted_at`, else permanently.
///
/// # Errors
/// [`Error::NotFound`] if the row no longer exists; [`Error::Conflict`] with the code `deleted` if it is already softly
/// deleted.
pub async fn delete_model_with_event<M: Tracked>(tx: &TeamTx, model: M, reason: Option<&str>) -> Result<()>
where
    ActiveModelOf<M>: ActiveModelBehavior + Send,
{
    refuse_unstorable_reason(reason)?;
    let old = lock(tx, &model).await?;
    refuse_deleted(&old)?;
    let final_values = capture_values(&old, &Track::All);
    match M::deleted_at() {
        Some(column) => {
            let mut changes = <ActiveModelOf<M> as ActiveModelTrait>::default();
            set_now::<M>(tx, &mut changes, column)?;
            write_changes(tx, &old, &changes).await?;
        }
        None => {
            M::Entity::delete_many()
                .filter(column_named::<M>("team_id")?.eq(tx.team_id()))
                .filter(column_named::<M>("id")?.eq(old.get(column_named::<M>("id")?)))
                .exec(tx)
                .await?;
        }
    }
    emit_event(
        tx,
        &old,
        DeletedEventData {
            final_values,
            reason: reason.map(str::to_owned),
        },
    )
    .await?;
    Ok(())
}

/// Undoes a soft deletion and records the restored values. If the model is not deleted, it records no event.
///
/// # Errors
/// [`Error::NotFound`] if the row no longer exists; [`Error::Internal`] if the model has no `deleted_at`, because its
/// rows are then deleted permanently; the database's refusals, for example because another row has taken the name in
/// the meantime.
pub async fn restore_model_with_event<M: Tracked>(tx: &TeamTx, model: M, reason: Option<&str>) -> Result<M>
where
    ActiveModelOf<M>: ActiveModelBehavior + Send,
{
    let Some(column) = M::deleted_at() else {
        return Err(Error::internal(format!(
            "a {} is deleted permanently, because its model has no deleted_at; it can't be restored",
            M::OBJECT_TYPE
        )));
    };
    refuse_unstorable_reason(reason)?;
    let old = lock(tx, &model).await?;
    let deleted_at = old.get(column);
    if is_null(&deleted_at) {
        return Ok(old);
    }
    let mut changes = <ActiveModelOf<M> as ActiveModelTrait>::default();
    set_column(&mut changes, column, deleted_at.as_null())?;
    let new = write_changes(tx, &old, &changes).await?.unwrap_or(old);
    let restored_values = capture_values(&new, &Track::All);
    emit_event(
        tx,
        &new,
        RestoredEventData {
            restored_values,
            reason: reason.map(str::to_owned),
        },
    )
    .await?;
    Ok(new)
}
