//! Writing many models and their events: the number of statements does not grow with the number of rows, up
//! to five thousand; then one more of each kind per five thousand.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue, ColumnTrait, ColumnType, EntityName, EntityTrait, IdenStatic,
    Iterable, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select, Statement, Value,
};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::emit::{ROWS_PER_STATEMENT, emit_events};
use super::payload::{CreatedEventData, UpdatedEventData};
use super::tracked::{
    ActiveModelOf, ColumnOf, Track, Tracked, capture_values, column_named, find_column, model_changes, set_column,
};
use super::values::recorded;
use super::with_event::{differing, id_is_any, prepare_insert, refuse_unstorables, touch};
use crate::error::{Error, Result};
use crate::tenancy::TeamTx;

/// Inserts models and records that each came to be. Results are in the order of `models`.
///
/// Rows that set other columns than their neighbours go in statements of their own, so that each column that
/// isn't set gets the database's default.
///
/// # Errors
/// As [`create_model_with_event`](super::create_model_with_event); the field of a refused row is
/// `[index].field`.
pub async fn create_models_with_events<E, M, A>(tx: &TeamTx, models: Vec<A>, track: Track<E::Column>) -> Result<Vec<M>>
where
    E: EntityTrait<Model = M, ActiveModel = A>,
    M: Tracked<Entity = E>,
    A: ActiveModelTrait<Entity = E> + ActiveModelBehavior + Send,
{
    let mut order = Vec::with_capacity(models.len());
    let mut groups: BTreeMap<Vec<&'static str>, Vec<Json>> = BTreeMap::new();
    for (index, mut model) in models.into_iter().enumerate() {
        prepare_insert::<M, A>(tx, &mut model).map_err(|error| at(index, error))?;
        let (id, columns, row) = json_row::<M, A>(&model)?;
        order.push(id);
        groups.entry(columns).or_default().push(row);
    }
    let mut created = HashMap::with_capacity(order.len());
    for (columns, rows) in groups {
        for chunk in rows.chunks(ROWS_PER_STATEMENT) {
            for model in insert::<M>(tx, &columns, chunk).await? {
                created.insert(model_id(&model)?, model);
            }
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

/// Changes all rows of a selection in the same way and records, for each, what really changed.
///
/// The rows are locked in the order of their ids and read as they are; those that have the values already are
/// left alone, and given back as they are. `select` may filter and limit; its order is the ids'.
///
/// # Errors
/// As [`update_model_with_event`](super::update_model_with_event), but for rows that aren't there, which are
/// none.
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
    refuse_unstorables::<M, _>(&changes)?;
    let (id, team_id) = (column_named::<M>("id")?, column_named::<M>("team_id")?);
    let mut select = select.filter(team_id.eq(tx.team_id()));
    QueryTrait::query(&mut select).clear_order_by();
    let mut models = select.order_by_asc(id).lock_exclusive().all(tx).await?;

    let mut ids = Vec::new();
    let mut columns: BTreeMap<&'static str, (E::Column, Value)> = BTreeMap::new();
    for model in &models {
        let differing = differing(tx, model, &changes)?;
        if !differing.is_empty() {
            ids.push(model_id(model)?);
        }
        columns.extend(
            differing
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
    touch::<M>(&mut update)?;
    let written = E::update_many()
        .set(update)
        .filter(team_id.eq(tx.team_id()))
        .filter(id_is_any::<M>(ids)?)
        .exec_with_returning(tx)
        .await?;
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

/// The row as JSON for `json_populate_recordset`, which gives each value the column's own type.
fn json_row<M, A>(model: &A) -> Result<(Uuid, Vec<&'static str>, Json)>
where
    M: Tracked<Entity = A::Entity>,
    A: ActiveModelTrait,
{
    let mut columns = Vec::new();
    let mut row = Map::new();
    for column in ColumnOf::<M>::iter() {
        let (ActiveValue::Set(value) | ActiveValue::Unchanged(value)) = model.get(column) else {
            continue;
        };
        columns.push(column.as_str());
        let json = match value {
            // As text, since `json_populate_recordset` takes JSON's null for none; `selected` reads it.
            Value::Json(Some(json)) if is_json::<M>(column.as_str()) => Json::String(json.to_string()),
            // PostgreSQL reads bytes in hex, events show them in base64.
            Value::Bytes(Some(bytes)) => Json::String(bytes.iter().fold("\\x".to_owned(), |mut hex, byte| {
                use std::fmt::Write as _;
                let _ = write!(hex, "{byte:02x}");
                hex
            })),
            value => recorded(value),
        };
        row.insert(column.as_str().to_owned(), json);
    }
    let id = match model.get(column_named::<M>("id")?) {
        ActiveValue::Set(Value::Uuid(Some(id))) | ActiveValue::Unchanged(Value::Uuid(Some(id))) => id,
        other => {
            return Err(Error::internal(format!(
                "the id of a {} must be a UUID, not {other:?}",
                M::OBJECT_TYPE
            )));
        }
    };
    Ok((id, columns, Json::Object(row)))
}

/// One statement with one bind, so that no number of columns meets the protocol's limit of 65,535 binds.
async fn insert<M: Tracked>(tx: &TeamTx, columns: &[&str], rows: &[Json]) -> Result<Vec<M>> {
    let table = quoted(M::Entity::default().table_name());
    let into = columns
        .iter()
        .map(|column| quoted(column))
        .collect::<Vec<_>>()
        .join(", ");
    let selected = columns
        .iter()
        .map(|column| selected::<M>(column))
        .collect::<Vec<_>>()
        .join(", ");
    let returning = ColumnOf::<M>::iter()
        .map(|column| match column.enum_type_name() {
            // SeaORM reads a PostgreSQL enum as text.
            Some(_) => format!("{0}::text AS {0}", quoted(column.as_str())),
            None => quoted(column.as_str()),
        })
        .collect::<Vec<_>>()
        .join(", ");
    let sql = format!(
        "INSERT INTO {table} ({into}) SELECT {selected} FROM json_populate_recordset(NULL::{table}, $1::text::json) RETURNING {returning}"
    );
    let rows = serde_json::to_string(rows)?;
    let statement = Statement::from_sql_and_values(sea_orm::DbBackend::Postgres, sql, [rows.into()]);
    Ok(M::Entity::find().from_raw_sql(statement).all(tx).await?)
}

fn selected<M: Tracked>(column: &str) -> String {
    let quoted = quoted(column);
    if is_json::<M>(column) {
        format!("({quoted} #>> '{{}}')::json")
    } else {
        quoted
    }
}

fn is_json<M: Tracked>(column: &str) -> bool {
    find_column::<M>(column).is_some_and(|column| {
        matches!(
            column.def().get_column_type(),
            ColumnType::Json | ColumnType::JsonBinary
        )
    })
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn model_id<M: Tracked>(model: &M) -> Result<Uuid> {
    match model.get(column_named::<M>("id")?) {
        Value::Uuid(Some(id)) => Ok(id),
        other => Err(Error::internal(format!(
            "the id of a {} must be a UUID, not {other:?}",
            M::OBJECT_TYPE
        ))),
    }
}

fn at(index: usize, error: Error) -> Error {
    let Error::Invalid(fields) = error else { return error };
    Error::Invalid(
        fields
            .into_iter()
            .map(|field| crate::error::FieldError {
                field: format!("[{index}].{}", field.field),
                detail: field.detail,
            })
            .collect(),
    )
}
