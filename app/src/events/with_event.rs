//! Writing one model and its event: the change, what it changed, and the record of it, in one transaction.

use sea_orm::sea_query::extension::postgres::PgFunc;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue, ColumnTrait, EntityTrait, IdenStatic, Iterable, QueryFilter,
    QuerySelect, Value,
};
use uuid::Uuid;

use super::emit::emit_event;
use super::payload::{CreatedEventData, DeletedEventData, FieldChange, StateChangedEventData, UpdatedEventData};
use super::tracked::{
    ActiveModelOf, ColumnOf, FieldPolicy, Track, Tracked, capture_values, column_named, find_column, model_changes,
    set_column,
};
use super::values::{recorded, refuse_unstorable, same};
use crate::error::{Error, Result};
use crate::tenancy::TeamTx;

/// Inserts a model and records that it came to be.
///
/// `id` (UUIDv7) and `team_id` are filled in when not set. Round trips: the insert, the event, the consumers'.
///
/// # Errors
/// [`Error::Invalid`] for another team's `team_id`, a text with U+0000 or JSON that is too deep; what the database refuses, as
/// [`Error::from_database`] sorts it; what [`emit_event`] fails with.
pub async fn create_model_with_event<E, M, A>(tx: &TeamTx, mut model: A, track: Track<E::Column>) -> Result<M>
where
    E: EntityTrait<Model = M, ActiveModel = A>,
    M: Tracked<Entity = E>,
    A: ActiveModelTrait<Entity = E> + ActiveModelBehavior + Send,
{
    prepare_insert::<M, A>(tx, &mut model)?;
    let created = E::insert(model).exec_with_returning(tx).await?;
    let initial_values = capture_values(&created, &track);
    emit_event(tx, &created, CreatedEventData { initial_values }).await?;
    Ok(created)
}

/// Changes a model and records what really changed.
///
/// The row is locked and read as it is in the database; `changes` is compared with that, typed, and only what
/// differs is written. Nothing differs: nothing is written. Nothing tracked differs: no event. A column
/// `updated_at` is set to now when something is written and `changes` doesn't set it. Round trips: the
/// locking read, the update, the event, the consumers'.
///
/// # Errors
/// [`Error::NotFound`] if the row is gone; [`Error::Invalid`] for a change of `id` or `team_id` or a text
/// with U+0000; otherwise as [`create_model_with_event`].
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
    let Some(new) = write_changes(tx, &old, &changes).await? else {
        return Ok(old);
    };
    let changes = model_changes(&old, &new, &track);
    if !changes.is_empty() {
        emit_event(tx, &new, UpdatedEventData { changes }).await?;
    }
    Ok(new)
}

/// Moves a model to another state and records that, with a reason. In that state already: no event.
///
/// # Errors
/// [`Error::NotFound`] if the row is gone; [`Error::Internal`] if the model's policy ignores the column.
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
            "{} is not tracked, so a transition of it can't be",
            column.as_str()
        )));
    }
    refuse_nul_in_reason(reason)?;
    let mut changes = <ActiveModelOf<M> as ActiveModelTrait>::default();
    set_column(&mut changes, column, new_state.into())?;
    let old = lock(tx, model).await?;
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

/// Deletes a model and records its last values: softly where the model has a `deleted_at`, else for good.
///
/// # Errors
/// [`Error::NotFound`] if the row is gone or deleted already.
pub async fn delete_model_with_event<M: Tracked>(tx: &TeamTx, model: M, reason: Option<&str>) -> Result<()>
where
    ActiveModelOf<M>: ActiveModelBehavior + Send,
{
    refuse_nul_in_reason(reason)?;
    let old = lock(tx, &model).await?;
    let final_values = capture_values(&old, &Track::All);
    match M::deleted_at() {
        Some(column) if !is_null(&old.get(column)) => return Err(Error::not_found(M::OBJECT_TYPE)),
        Some(column) => {
            let mut changes = <ActiveModelOf<M> as ActiveModelTrait>::default();
            set_now::<M>(&mut changes, column)?;
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

/// Fills `id` and `team_id`, and refuses what can't be stored.
pub(super) fn prepare_insert<M, A>(tx: &TeamTx, model: &mut A) -> Result<()>
where
    M: Tracked<Entity = A::Entity>,
    A: ActiveModelTrait,
{
    let (id, team_id) = (column_named::<M>("id")?, column_named::<M>("team_id")?);
    if model.is_not_set(id) {
        set_column(model, id, Uuid::now_v7().into())?;
    }
    match model.get(team_id) {
        ActiveValue::NotSet => set_column(model, team_id, tx.team_id().into())?,
        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => refuse_other_team(tx, &value)?,
    }
    refuse_unstorables::<M, A>(model)
}

pub(super) fn refuse_other_team(tx: &TeamTx, team_id: &Value) -> Result<()> {
    if *team_id == Value::from(tx.team_id()) {
        return Ok(());
    }
    Err(Error::invalid(
        "team_id",
        "names another team than the transaction's; leave it out",
    ))
}

pub(super) fn refuse_unstorables<M, A>(model: &A) -> Result<()>
where
    M: Tracked<Entity = A::Entity>,
    A: ActiveModelTrait,
{
    for column in ColumnOf::<M>::iter() {
        if let ActiveValue::Set(value) = model.get(column) {
            refuse_unstorable(column.as_str(), &value)?;
        }
    }
    Ok(())
}

/// Before anything is written: a change whose event is refused afterwards would stand without it.
fn refuse_nul_in_reason(reason: Option<&str>) -> Result<()> {
    reason.map_or(Ok(()), |reason| refuse_unstorable("reason", &reason.into()))
}

/// The row as it is, locked until the transaction ends.
async fn lock<M: Tracked>(tx: &TeamTx, model: &M) -> Result<M> {
    let id = column_named::<M>("id")?;
    M::Entity::find()
        .filter(column_named::<M>("team_id")?.eq(tx.team_id()))
        .filter(id.eq(model.get(id)))
        .lock_exclusive()
        .one(tx)
        .await?
        .ok_or_else(|| Error::not_found(M::OBJECT_TYPE))
}

/// The columns of `changes` that are set to something else than what `old` holds.
///
/// # Errors
/// [`Error::Invalid`] for a change of `id` or `team_id`.
pub(super) fn differing<M: Tracked>(
    tx: &TeamTx,
    old: &M,
    changes: &ActiveModelOf<M>,
) -> Result<Vec<(ColumnOf<M>, Value)>> {
    let mut differing = Vec::new();
    for column in ColumnOf::<M>::iter() {
        let ActiveValue::Set(value) = changes.get(column) else {
            continue;
        };
        if same(&old.get(column), &value) {
            continue;
        }
        match column.as_str() {
            "id" => return Err(Error::invalid("id", "can't be changed; leave it out")),
            "team_id" => return refuse_other_team(tx, &value).map(|()| differing),
            _ => differing.push((column, value)),
        }
    }
    Ok(differing)
}

/// Writes what differs and gives the row as the database now has it; `None` if nothing differs.
async fn write_changes<M: Tracked>(tx: &TeamTx, old: &M, changes: &ActiveModelOf<M>) -> Result<Option<M>>
where
    ActiveModelOf<M>: ActiveModelBehavior + Send,
{
    refuse_unstorables::<M, _>(changes)?;
    let differing = differing(tx, old, changes)?;
    if differing.is_empty() {
        return Ok(None);
    }
    let id = column_named::<M>("id")?;
    let mut update = <ActiveModelOf<M> as ActiveModelTrait>::default();
    for (column, value) in differing {
        set_column(&mut update, column, value)?;
    }
    touch::<M>(&mut update)?;
    let written = M::Entity::update_many()
        .set(update)
        .filter(column_named::<M>("team_id")?.eq(tx.team_id()))
        .filter(id.eq(old.get(id)))
        .exec_with_returning(tx)
        .await?;
    Ok(Some(
        written
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found(M::OBJECT_TYPE))?,
    ))
}

/// Sets `updated_at`, where the model has one and nobody set it.
pub(super) fn touch<M: Tracked>(update: &mut ActiveModelOf<M>) -> Result<()> {
    match find_column::<M>("updated_at") {
        Some(column) if update.is_not_set(column) => set_now::<M>(update, column),
        _ => Ok(()),
    }
}

/// Sets an instant column to now, in whichever of SeaORM's types the model has it.
fn set_now<M: Tracked>(update: &mut ActiveModelOf<M>, column: ColumnOf<M>) -> Result<()> {
    let now = chrono::Utc::now();
    if update.try_set(column, now.into()).is_ok() || update.try_set(column, now.fixed_offset().into()).is_ok() {
        return Ok(());
    }
    set_column(update, column, now.naive_utc().into())
}

fn is_null(value: &Value) -> bool {
    *value == value.as_null()
}

/// The id column equals one of these: one bind, however many there are.
pub(super) fn id_is_any<M: Tracked>(ids: Vec<Uuid>) -> Result<Expr> {
    let id = column_named::<M>("id")?;
    Ok(Expr::col(id.as_column_ref()).eq(PgFunc::any(ids)))
}
