//! Every type of column with every helper, in a table of a schema other than `public`.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use daybook::assert_events;
use daybook::events::{
    EventData, FieldPolicy, Track, Tracked, create_model_with_event, create_models_with_events,
    delete_model_with_event, restore_model_with_event, transition_model_with_event, update_model_with_event,
    update_models_with_events,
};
use daybook_migration::enable_team_rls;
use daybook_tests::TeamFixture;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveModelTrait, FromJsonQueryResult, IntoActiveModel, SqlxPostgresConnector};
use sea_orm_migration::SchemaManager;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Executor as _;

/// A PostgreSQL enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Enum", enum_name = "mood")]
enum Mood {
    #[sea_orm(string_value = "calm")]
    Calm,
    #[sea_orm(string_value = "very cross")]
    VeryCross,
}

/// An enum that is kept as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i32", db_type = "Integer")]
enum Level {
    #[sea_orm(num_value = 1)]
    Low,
    #[sea_orm(num_value = 2)]
    High,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
struct Size {
    width: u32,
    height: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "shop", table_name = "specimens")]
struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: Uuid,
    team_id: Uuid,
    name: String,
    #[sea_orm(column_name = "select")]
    renamed: Option<String>,
    #[sea_orm(column_type = "custom(\"inet\")", select_as = "text", save_as = "inet")]
    address: Option<String>,
    #[sea_orm(column_type = "custom(\"int4\")", select_as = "text", save_as = "int4")]
    number_as_text: String,
    mood: Mood,
    maybe_mood: Option<Mood>,
    moods: Vec<Mood>,
    level: Level,
    yes: bool,
    small: i16,
    int: i32,
    big: i64,
    float: f32,
    double: f64,
    #[sea_orm(column_type = "Decimal(Some((20, 4)))")]
    price: Decimal,
    #[sea_orm(column_type = "Char(Some(3))")]
    code: String,
    #[sea_orm(column_type = "VarBinary(StringLen::None)")]
    bytes: Vec<u8>,
    #[sea_orm(column_type = "Json")]
    json: Json,
    #[sea_orm(column_type = "JsonBinary")]
    size: Size,
    day: NaiveDate,
    time: NaiveTime,
    local: NaiveDateTime,
    utc: DateTimeUtc,
    zoned: Option<DateTimeWithTimeZone>,
    uuid: Uuid,
    texts: Vec<String>,
    ints: Vec<i32>,
    uuids: Option<Vec<Uuid>>,
    prices: Vec<Decimal>,
    flags: Vec<bool>,
    deleted_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Tracked for Model {
    const OBJECT_TYPE: &'static str = "specimen";

    fn label(&self) -> String {
        self.name.clone()
    }

    fn field_policy(column: &Column) -> FieldPolicy {
        match column {
            Column::Id | Column::TeamId | Column::DeletedAt => FieldPolicy::Ignore,
            _ => FieldPolicy::Track,
        }
    }

    fn deleted_at() -> Option<Column> {
        Some(Column::DeletedAt)
    }
}

const TABLE: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'very cross');
    CREATE SCHEMA shop;
    CREATE TABLE shop.specimens (
        team_id uuid NOT NULL, id uuid NOT NULL, name text NOT NULL, \"select\" varchar(40), address inet,
        number_as_text int4 NOT NULL DEFAULT 0, mood mood NOT NULL DEFAULT 'calm', maybe_mood mood,
        moods mood[] NOT NULL DEFAULT '{}', level int4 NOT NULL DEFAULT 1, yes bool NOT NULL DEFAULT false,
        small int2 NOT NULL DEFAULT 0, int int4 NOT NULL DEFAULT 0, big int8 NOT NULL DEFAULT 0,
        float float4 NOT NULL DEFAULT 0, double float8 NOT NULL DEFAULT 0, price numeric(20, 4) NOT NULL DEFAULT 0,
        code char(3) NOT NULL DEFAULT 'abc', bytes bytea NOT NULL DEFAULT '', json json NOT NULL DEFAULT '[]',
        size jsonb NOT NULL DEFAULT '{\"width\": 1, \"height\": null}', day date NOT NULL DEFAULT '2026-01-01',
        time time NOT NULL DEFAULT '00:00', local timestamp NOT NULL DEFAULT '2026-01-01',
        utc timestamptz NOT NULL DEFAULT '2026-01-01Z', zoned timestamptz, uuid uuid NOT NULL DEFAULT gen_random_uuid(),
        texts text[] NOT NULL DEFAULT '{}', ints int4[] NOT NULL DEFAULT '{}', uuids uuid[],
        prices numeric[] NOT NULL DEFAULT '{}', flags bool[] NOT NULL DEFAULT '{}', deleted_at timestamptz,
        PRIMARY KEY (team_id, id)
    );
    -- Where a helper would write that forgets the schema.
    CREATE TABLE public.specimens (LIKE shop.specimens INCLUDING ALL);";

async fn fixture() -> TeamFixture {
    let fixture = TeamFixture::new().await;
    let pool = fixture.db.owner_pool().await;
    pool.execute(TABLE).await.unwrap();
    let db = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    let manager = SchemaManager::new(&db);
    enable_team_rls(&manager, "shop.specimens").await.unwrap();
    enable_team_rls(&manager, "specimens").await.unwrap();
    pool.close().await;
    fixture
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Returns a model with a value in every column.
fn full(name: &str) -> ActiveModel {
    let at: DateTime<Utc> = "2026-03-29T01:59:59.999999Z".parse().unwrap();
    ActiveModel {
        name: Set(name.to_owned()),
        renamed: Set(Some("“quoted” \\ \"x\" 'y'".to_owned())),
        address: Set(Some("10.0.0.1/24".to_owned())),
        number_as_text: Set("-7".to_owned()),
        mood: Set(Mood::VeryCross),
        maybe_mood: Set(Some(Mood::Calm)),
        moods: Set(vec![Mood::Calm, Mood::VeryCross]),
        level: Set(Level::High),
        yes: Set(true),
        small: Set(i16::MIN),
        int: Set(i32::MAX),
        big: Set(i64::MIN),
        float: Set(0.1),
        double: Set(1.0e300),
        price: Set(decimal("9007199254740993.0001")),
        code: Set("xyz".to_owned()),
        bytes: Set((0..=255).collect()),
        json: Set(json!({ "a": [null, 1.5, "\u{1F600}"] })),
        size: Set(Size {
            width: 7,
            height: Some(2),
        }),
        day: Set(NaiveDate::from_ymd_opt(9999, 12, 31).unwrap()),
        // PostgreSQL would round the last digits, which the driver cuts off.
        time: Set(NaiveTime::from_hms_nano_opt(23, 59, 58, 123_456_789).unwrap()),
        local: Set(at.naive_utc()),
        utc: Set(at),
        zoned: Set(Some(DateTime::parse_from_rfc3339("0001-01-01T02:00:00+02:00").unwrap())),
        uuid: Set(Uuid::from_u128(7)),
        texts: Set(vec![String::new(), "NULL".to_owned(), "{\"a\",b}".to_owned()]),
        ints: Set(vec![-1, 0]),
        uuids: Set(Some(vec![Uuid::nil()])),
        prices: Set(vec![decimal("1.50"), decimal("79228162514264337593543950335")]),
        flags: Set(vec![true, false]),
        ..Default::default()
    }
}

/// Returns a model without the columns that differ from row to row.
fn contents(model: &Model) -> Model {
    Model {
        id: Uuid::nil(),
        name: String::new(),
        ..model.clone()
    }
}

#[tokio::test]
async fn rows_of_every_type_are_written_in_bulk_as_they_are_one_by_one() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    let one = create_model_with_event(&tx, full("one"), Track::All).await.unwrap();
    let many = create_models_with_events(&tx, vec![full("a"), full("b")], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!((one.mood, one.level), (Mood::VeryCross, Level::High));
    assert_eq!(one.address.as_deref(), Some("10.0.0.1/24"));
    assert_eq!(one.number_as_text, "-7");
    for model in &many {
        assert_eq!(contents(model), contents(&one));
    }
    let events = fixture.team.events().await;
    let values = |n: usize| {
        let mut values = events[n].event_data["initial_values"].clone();
        values["name"] = json!("");
        values
    };
    assert_eq!(values(1), values(0));
    assert_eq!(values(0)["select"], "“quoted” \\ \"x\" 'y'");
    assert_eq!(values(0)["moods"], json!(["calm", "very cross"]));
    assert_eq!(values(0)["zoned"], "0001-01-01T00:00:00.000000Z");
    assert_eq!(fixture.count("shop.specimens").await, 3);
    assert_eq!(fixture.count("public.specimens").await, 0, "written without its schema");
}

#[tokio::test]
async fn every_column_type_works_with_every_helper() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    let bare = || ActiveModel {
        name: Set("bare".to_owned()),
        ..Default::default()
    };
    let one = create_model_with_event(&tx, bare(), Track::All).await.unwrap();
    create_models_with_events(&tx, vec![bare()], Track::All).await.unwrap();
    let full = full("full");
    let changed = update_model_with_event(&tx, &one, full.clone(), Track::All)
        .await
        .unwrap();
    // Both rows are selected; the one that already has all the values is not written.
    let updated = update_models_with_events(&tx, Entity::find(), full.clone(), Track::All)
        .await
        .unwrap();
    assert_eq!(updated.len(), 2);
    for model in &updated {
        assert_eq!(contents(model), contents(&changed));
    }
    // The row that was read is written back unchanged: nothing differs.
    let as_it_is = changed.clone().into_active_model().reset_all();
    let again = update_model_with_event(&tx, &changed, as_it_is, Track::All)
        .await
        .unwrap();
    assert_eq!(again, changed);
    let calm = transition_model_with_event(&tx, &changed, Column::Mood, Mood::Calm, None)
        .await
        .unwrap();
    assert_eq!(calm.mood, Mood::Calm);
    let low = transition_model_with_event(&tx, &calm, Column::Level, Level::Low, None)
        .await
        .unwrap();
    assert_eq!(low.level, Level::Low);
    delete_model_with_event(&tx, low.clone(), None).await.unwrap();
    let back = restore_model_with_event(&tx, low.clone(), None).await.unwrap();
    assert_eq!(back, low);
    tx.commit().await.unwrap();

    let events = fixture.team.events().await;
    let lines: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(
        lines,
        [
            "CREATED",
            "CREATED",
            "UPDATED",
            "UPDATED",
            "STATE_CHANGED",
            "STATE_CHANGED",
            "DELETED",
            "RESTORED"
        ]
    );
    let EventData::Updated(data) = events[2].data().unwrap() else {
        panic!("{:?}", events[2])
    };
    // All columns except the id, the team and the deletion time.
    assert_eq!(data.changes.len(), 30, "{:?}", data.changes.keys());
    assert_eq!(data.changes["mood"].new, "very cross");
    assert_events!(
        events[4..6].to_vec(),
        [
            "STATE_CHANGED specimen “full”: very cross → calm",
            "STATE_CHANGED specimen “full”: 2 → 1",
        ]
    );
    assert_eq!(fixture.count("public.specimens").await, 0);
}
