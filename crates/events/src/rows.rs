//! The rows that the helpers write: filled in, checked, locked, compared, and read back.

use sea_orm::sea_query::extension::postgres::PgFunc;
use sea_orm::sea_query::{Expr, ExprTrait, Query, ReturningClause};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue, ColumnTrait, ColumnType, ConnectionTrait, DbErr, EntityTrait,
    IdenStatic, Iterable, QueryFilter, QuerySelect, QueryTrait, StatementBuilder, Value,
};
use uuid::Uuid;

use super::spaced::spaced;
use super::tracked::{ActiveModelOf, ColumnOf, Tracked, column_named, find_column, set_column};
use super::values::{refuse_placeholder, refuse_unstorable, same};
use daybook_tenancy::TeamTx;
use daybook_tenancy::error::{Error, Result};
use daybook_tenancy::json::{Unreadable, unreadable_in_sql};
use daybook_tenancy::timestamps::{MAX_TIMESTAMP, MIN_TIMESTAMP};

/// Fills in `id` and `team_id`, and refuses values that can't be stored.
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
    refuse_unstorable_values::<M, A>(model)?;
    for column in ColumnOf::<M>::iter() {
        if let ActiveValue::Set(value) = model.get(column) {
            refuse_placeholder(column.as_str(), &value)?;
        }
    }
    Ok(())
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

pub(super) fn refuse_unstorable_values<M, A>(model: &A) -> Result<()>
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

/// Refuses a reason that can't be stored. This must happen before anything is written: if the event were refused later,
/// the change would remain without an event.
pub(super) fn refuse_unstorable_reason(reason: Option<&str>) -> Result<()> {
    reason.map_or(Ok(()), |reason| refuse_unstorable("reason", &reason.into()))
}

/// Reads the current row and locks it until the transaction ends.
pub(super) async fn lock<M: Tracked>(tx: &TeamTx, model: &M) -> Result<M> {
    let id = column_named::<M>("id")?;
    M::Entity::find()
        .filter(column_named::<M>("team_id")?.eq(tx.team_id()))
        .filter(id.eq(model.get(id)))
        .lock_exclusive()
        .one(tx)
        .await?
        .ok_or_else(|| Error::not_found(M::OBJECT_TYPE))
}

/// Refuses a softly deleted row, which must be restored before it is changed.
pub(super) fn refuse_deleted<M: Tracked>(row: &M) -> Result<()> {
    match M::deleted_at() {
        Some(column) if !is_null(&row.get(column)) => Err(Error::conflict(
            "deleted",
            format!("the {} is deleted; restore it first", spaced(M::OBJECT_TYPE)),
        )),
        _ => Ok(()),
    }
}

/// Refuses changes that would delete or restore the row, because deletion and restoration have their own events.
pub(super) fn refuse_deletion_by_hand<M: Tracked>(old: &M, changes: &ActiveModelOf<M>) -> Result<()> {
    match M::deleted_at().map(|column| (column, changes.get(column))) {
        Some((column, ActiveValue::Set(value))) if !same(&old.get(column), &value) => Err(deletion_by_hand(column)),
        _ => Ok(()),
    }
}

pub(super) fn deletion_by_hand(column: impl IdenStatic) -> Error {
    Error::invalid(
        column.as_str(),
        "is set by a deletion and cleared by a restoration (delete_model_with_event, restore_model_with_event); leave \
         it out of an update",
    )
}

/// Returns the columns that `changes` sets to values that differ from `old`.
///
/// # Errors
/// [`Error::Invalid`] for a change of `id` or `team_id`, and for a placeholder of JSON that can't be read.
pub(super) fn changed_columns<M: Tracked>(
    tx: &TeamTx,
    old: &M,
    changes: &ActiveModelOf<M>,
) -> Result<Vec<(ColumnOf<M>, Value)>> {
    let mut changed_columns = Vec::new();
    for column in ColumnOf::<M>::iter() {
        let ActiveValue::Set(value) = changes.get(column) else {
            continue;
        };
        if same(&old.get(column), &value) {
            continue;
        }
        match column.as_str() {
            "id" => return Err(Error::invalid("id", "can't be changed; leave it out")),
            "team_id" => return refuse_other_team(tx, &value).map(|()| changed_columns),
            name => {
                refuse_placeholder(name, &value)?;
                changed_columns.push((column, value));
            }
        }
    }
    Ok(changed_columns)
}

/// Writes the columns that differ and returns the new row as it is in the database; `None` if nothing differs.
pub(super) async fn write_changes<M: Tracked>(tx: &TeamTx, old: &M, changes: &ActiveModelOf<M>) -> Result<Option<M>>
where
    ActiveModelOf<M>: ActiveModelBehavior + Send,
{
    refuse_unstorable_values::<M, _>(changes)?;
    let changed_columns = changed_columns(tx, old, changes)?;
    if changed_columns.is_empty() {
        return Ok(None);
    }
    let id = column_named::<M>("id")?;
    let mut update = <ActiveModelOf<M> as ActiveModelTrait>::default();
    for (column, value) in changed_columns {
        set_column(&mut update, column, value)?;
    }
    touch::<M>(tx, &mut update)?;
    let mut update = M::Entity::update_many()
        .set(update)
        .filter(column_named::<M>("team_id")?.eq(tx.team_id()))
        .filter(id.eq(old.get(id)))
        .into_query();
    update.returning(returning_after::<M>(&unreadable_columns(std::slice::from_ref(old))));
    let written = fetch_returned(tx, &update).await?.pop();
    Ok(Some(written.ok_or_else(|| Error::not_found(M::OBJECT_TYPE))?))
}

/// Sets `updated_at` to now if the model has such a column and the update doesn't set it.
pub(super) fn touch<M: Tracked>(tx: &TeamTx, update: &mut ActiveModelOf<M>) -> Result<()> {
    match find_column::<M>("updated_at") {
        Some(column) if update.is_not_set(column) => set_now::<M>(tx, update, column),
        _ => Ok(()),
    }
}

/// Returns a `RETURNING` clause with all columns, each as the entity reads it, and with timestamps limited to those
/// that RFC 3339 can write.
pub(super) fn returning<M: Tracked>() -> ReturningClause {
    returning_after::<M>(&[])
}

/// Returns the JSON columns that can't be read in some of the rows.
pub(super) fn unreadable_columns<M: Tracked>(rows: &[M]) -> Vec<ColumnOf<M>> {
    let is_unreadable = |column: &ColumnOf<M>| {
        rows.iter()
            .any(|row| refuse_placeholder("", &row.get(*column)).is_err())
    };
    let json = ColumnOf::<M>::iter().filter(|column| *column.def().get_column_type() == ColumnType::JsonBinary);
    json.filter(is_unreadable).collect()
}

/// Does the same as [`returning`], for rows in which these JSON columns can't be read and are not changed. An update
/// can't run a second time, as a query can, to replace them with placeholders.
pub(super) fn returning_after<M: Tracked>(unreadable: &[ColumnOf<M>]) -> ReturningClause {
    Query::returning().exprs(ColumnOf::<M>::iter().map(|column| {
        let plain = Expr::col(column);
        let read = column.select_as(plain.clone());
        if unreadable.iter().any(|other| other.as_str() == column.as_str()) {
            let condition = unreadable_in_sql(&format!("\"{}\"", column.as_str()));
            let placeholder = format!("'{}'::jsonb", Unreadable::NO_JSON.placeholder());
            let replaced = Expr::case(Expr::cust(condition), Expr::cust(placeholder)).finally(plain);
            return replaced.into();
        }
        let is_moment = matches!(
            column.def().get_column_type(),
            ColumnType::TimestampWithTimeZone | ColumnType::Timestamp | ColumnType::DateTime | ColumnType::Date
        );
        if !is_moment || read != plain {
            return read;
        }
        // PostgreSQL names the result column after its last part.
        let clamped = Expr::case(plain.clone().gt(Expr::cust(MAX_TIMESTAMP)), Expr::cust(MAX_TIMESTAMP))
            .case(plain.clone().lt(Expr::cust(MIN_TIMESTAMP)), Expr::cust(MIN_TIMESTAMP))
            .finally(plain);
        clamped.into()
    }))
}

/// Returns the rows of a statement that ends with [`returning`].
pub(super) async fn fetch_returned<M: Tracked>(tx: &TeamTx, statement: &impl StatementBuilder) -> Result<Vec<M>> {
    let rows = tx.query_all(statement).await?;
    Ok(rows
        .iter()
        .map(|row| M::from_query_result(row, ""))
        .collect::<Result<_, DbErr>>()?)
}

/// Sets an instant column to now, in the SeaORM type that the model uses for it.
pub(super) fn set_now<M: Tracked>(tx: &TeamTx, update: &mut ActiveModelOf<M>, column: ColumnOf<M>) -> Result<()> {
    let now = tx.clock().now();
    if update.try_set(column, now.into()).is_ok() || update.try_set(column, now.fixed_offset().into()).is_ok() {
        return Ok(());
    }
    set_column(update, column, now.naive_utc().into())
}

pub(super) fn is_null(value: &Value) -> bool {
    *value == value.as_null()
}

/// Returns the condition that the id is one of these: one bind for any number of ids.
pub(super) fn id_is_any<M: Tracked>(ids: Vec<Uuid>) -> Result<Expr> {
    let id = column_named::<M>("id")?;
    Ok(Expr::col(id.as_column_ref()).eq(PgFunc::any(ids)))
}
