//! Inserts many rows with one statement and one bind: the rows are sent as JSON and split by `json_to_recordset`.
//!
//! Each column of the record has the type with which the driver would bind its value. The entity defines how that is
//! converted into the column's type (`save_as`, enums). So a row is written exactly as a single insert would write it.

use sea_orm::sea_query::{Expr, ExprTrait, PostgresQueryBuilder, Query};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ColumnType, ConnectionTrait, DbBackend, DbErr, EntityName, IdenStatic,
    Iterable, Statement, Value,
};
use serde_json::{Map, Value as Json};

use super::rows::returning;
use super::tracked::{ColumnOf, Tracked, column_named};
use super::values::recorded;
use daybook_tenancy::TeamTx;
use daybook_tenancy::error::{Error, Result};

/// The name of the record in the statement.
const ROWS: &str = "daybook_rows";

/// The columns that a model sets, each with its type in the record; `None` for a value that JSON can't carry.
pub(super) type Columns = Vec<(&'static str, Option<&'static str>)>;

/// Returns the columns that a model sets.
pub(super) fn columns_of<M, A>(model: &A) -> Columns
where
    M: Tracked<Entity = A::Entity>,
    A: ActiveModelTrait,
{
    values_of::<M, A>(model)
        .map(|(column, value)| {
            let in_record = if is_json::<M>(column) {
                Some("text")
            } else {
                record_type(&value)
            };
            (column.as_str(), in_record)
        })
        .collect()
}

/// Inserts models that set these columns.
pub(super) async fn insert<M, A>(tx: &TeamTx, columns: &Columns, models: &[A]) -> Result<Vec<M>>
where
    M: Tracked<Entity = A::Entity>,
    A: ActiveModelTrait,
{
    let rows: Vec<Json> = models.iter().map(row_of::<M, A>).collect();
    let (mut names, mut record) = (Vec::new(), Vec::new());
    let mut select = Query::select();
    for (name, in_record) in columns {
        let column = column_named::<M>(name)?;
        let in_record = in_record.ok_or_else(|| Error::internal(format!("{name} can't be sent as JSON")))?;
        record.push(format!("\"{}\" {in_record}", name.replace('"', "\"\"")));
        let sent = Expr::col((ROWS, column));
        // JSON is sent as text, because `json_to_recordset` reads a JSON null as NULL.
        let sent = match (is_json::<M>(column), is_json_list::<M>(column)) {
            (true, _) => sent.cast_as("jsonb"),
            (_, true) => sent.cast_as("jsonb[]"),
            _ => sent,
        };
        select.expr(column.save_as(sent));
        names.push(column);
    }
    select.from(ROWS);
    let mut insert = Query::insert();
    insert
        .into_table(M::Entity::default().table_ref())
        .columns(names)
        .select_from(select)
        .map_err(|error| Error::internal(error.to_string()))?
        .returning(returning::<M>());
    let (insert, values) = insert.build(PostgresQueryBuilder);
    let mut values = values.0;
    values.push(serde_json::to_string(&rows)?.into());
    let sql = format!(
        "WITH {ROWS} AS (SELECT * FROM json_to_recordset(${}::text::json) AS sent ({})) {insert}",
        values.len(),
        record.join(", ")
    );
    let rows = tx
        .query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values))
        .await?;
    Ok(rows
        .iter()
        .map(|row| M::from_query_result(row, ""))
        .collect::<Result<_, DbErr>>()?)
}

fn values_of<M, A>(model: &A) -> impl Iterator<Item = (ColumnOf<M>, Value)>
where
    M: Tracked<Entity = A::Entity>,
    A: ActiveModelTrait,
{
    ColumnOf::<M>::iter().filter_map(|column| match model.get(column) {
        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => Some((column, value)),
        ActiveValue::NotSet => None,
    })
}

fn row_of<M, A>(model: &A) -> Json
where
    M: Tracked<Entity = A::Entity>,
    A: ActiveModelTrait,
{
    let fields = values_of::<M, A>(model).map(|(column, value)| {
        let value = match value {
            // SeaORM also stores a list of JSON values in one JSON column.
            Value::Array(_, Some(items)) if is_json::<M>(column) => {
                let items = items.into_iter().map(|item| match item {
                    Value::Json(json) => json.map_or(Json::Null, |json| *json),
                    other => recorded(other),
                });
                Json::String(Json::Array(items.collect()).to_string())
            }
            value => to_record_json(value),
        };
        (column.as_str().to_owned(), value)
    });
    Json::Object(fields.collect::<Map<_, _>>())
}

/// Returns a value in the form that `json_to_recordset` reads.
fn to_record_json(value: Value) -> Json {
    match value {
        Value::Json(Some(json)) => Json::String(json.to_string()),
        // PostgreSQL reads bytes in hexadecimal, but events show them in base64.
        Value::Bytes(Some(bytes)) => Json::String(bytes.iter().fold("\\x".to_owned(), |mut hex, byte| {
            use std::fmt::Write as _;
            let _ = write!(hex, "{byte:02x}");
            hex
        })),
        // The driver truncates to microseconds, but PostgreSQL would round.
        Value::ChronoTime(Some(time)) => Json::String(time.format("%H:%M:%S%.6f").to_string()),
        Value::Array(_, Some(items)) => Json::Array(items.into_iter().map(to_record_json).collect()),
        value => recorded(value),
    }
}

/// Returns the type with which the driver binds a value; `None` for a value that can't be sent as JSON, or that the
/// driver can't bind.
fn record_type(value: &Value) -> Option<&'static str> {
    use sea_orm::sea_query::ArrayType as Of;
    Some(match value {
        Value::Bool(_) => "bool",
        Value::SmallInt(_) | Value::TinyUnsigned(_) => "int2",
        Value::Int(_) | Value::SmallUnsigned(_) => "int4",
        Value::BigInt(_) | Value::Unsigned(_) | Value::BigUnsigned(_) => "int8",
        Value::Float(_) => "float4",
        Value::Double(_) => "float8",
        Value::String(_) | Value::Enum(_) | Value::Char(_) | Value::Json(_) => "text",
        Value::Bytes(_) => "bytea",
        Value::ChronoDate(_) => "date",
        Value::ChronoTime(_) => "time",
        Value::ChronoDateTime(_) => "timestamp",
        Value::ChronoDateTimeUtc(_) | Value::ChronoDateTimeLocal(_) | Value::ChronoDateTimeWithTimeZone(_) => {
            "timestamptz"
        }
        Value::Uuid(_) => "uuid",
        Value::Decimal(_) => "numeric",
        Value::Array(of, _) => match of {
            Of::Bool => "bool[]",
            Of::SmallInt | Of::TinyUnsigned => "int2[]",
            Of::Int | Of::SmallUnsigned => "int4[]",
            Of::BigInt | Of::Unsigned | Of::BigUnsigned => "int8[]",
            Of::Float => "float4[]",
            Of::Double => "float8[]",
            Of::String | Of::Enum(_) | Of::Char | Of::Json => "text[]",
            Of::Bytes => "bytea[]",
            Of::ChronoDate => "date[]",
            Of::ChronoTime => "time[]",
            Of::ChronoDateTime => "timestamp[]",
            Of::ChronoDateTimeUtc | Of::ChronoDateTimeLocal | Of::ChronoDateTimeWithTimeZone => "timestamptz[]",
            Of::Uuid => "uuid[]",
            Of::Decimal => "numeric[]",
            _ => return None,
        },
        _ => return None,
    })
}

fn is_json<M: Tracked>(column: ColumnOf<M>) -> bool {
    is_json_type(column.def().get_column_type())
}

fn is_json_list<M: Tracked>(column: ColumnOf<M>) -> bool {
    matches!(column.def().get_column_type(), ColumnType::Array(of) if is_json_type(of))
}

fn is_json_type(of: &ColumnType) -> bool {
    matches!(of, ColumnType::Json | ColumnType::JsonBinary)
}
