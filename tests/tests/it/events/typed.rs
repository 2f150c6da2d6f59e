//! Values are compared as the database compares them, and recorded without loss.

use chrono::{DateTime, FixedOffset};
use daybook::assert_events;
use daybook::events::{
    Track, create_model_with_event, create_models_with_events, update_model_with_event, update_models_with_events,
};
use daybook_tests::{TeamFixture, widget};
use rust_decimal::Decimal;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use serde_json::{Value, json};

type Model = widget::ActiveModel;

fn at(text: &str) -> Option<DateTime<FixedOffset>> {
    Some(DateTime::parse_from_rfc3339(text).unwrap())
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Creates a widget, changes it, and returns the changes of the event; `None` if there is no event.
async fn change(first: Model, then: Model) -> Option<Value> {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let widget = create_model_with_event(
        &tx,
        Model {
            name: Set("w".into()),
            ..first
        },
        Track::All,
    )
    .await
    .unwrap();
    update_model_with_event(&tx, &widget, then.clone(), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut events = fixture.team.events().await;
    let changes = (events.len() == 2).then(|| events.remove(1).event_data["changes"].take());

    // The bulk helper gives the same result.
    let tx = fixture.begin().await;
    update_models_with_events(&tx, widget::Entity::find(), then, Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(
        fixture.team.events().await.len() <= 2,
        "the bulk helper recorded a change although nothing changed"
    );
    changes
}

#[tokio::test]
async fn decimals_are_compared_by_value_not_by_digits() {
    let price = |text: &str| Model {
        price: Set(decimal(text)),
        ..Default::default()
    };
    assert_eq!(change(price("44.00"), price("44.0")).await, None);
    assert_eq!(
        change(price("44.00"), price("44.01")).await,
        Some(json!({ "price": { "old": "44.00", "new": "44.01" } }))
    );
    // More digits than a double has.
    assert_eq!(
        change(price("9007199254740993.000001"), price("9007199254740993.000002")).await,
        Some(json!({ "price": { "old": "9007199254740993.000001", "new": "9007199254740993.000002" } }))
    );
}

#[tokio::test]
async fn an_instant_is_the_same_in_every_zone() {
    let due = |text: &str| Model {
        due_at: Set(at(text)),
        ..Default::default()
    };
    assert_eq!(
        change(due("2026-11-20T10:00:00Z"), due("2026-11-20T12:00:00+02:00")).await,
        None
    );
    // PostgreSQL keeps microseconds.
    assert_eq!(
        change(
            due("2026-11-20T10:00:00.000001Z"),
            due("2026-11-20T10:00:00.000001400Z")
        )
        .await,
        None
    );
    assert_eq!(
        change(due("2026-11-20T10:00:00Z"), due("2026-11-20T10:00:00+02:00")).await,
        Some(json!({ "due_at": { "old": "2026-11-20T10:00:00.000000Z", "new": "2026-11-20T08:00:00.000000Z" } }))
    );
}

#[tokio::test]
async fn a_null_differs_from_the_text_null() {
    let note = |text: Option<&str>| Model {
        note: Set(text.map(str::to_owned)),
        ..Default::default()
    };
    assert_eq!(
        change(note(None), note(Some("null"))).await,
        Some(json!({ "note": { "old": null, "new": "null" } }))
    );
    assert_eq!(
        change(note(Some("")), note(None)).await,
        Some(json!({ "note": { "old": "", "new": null } }))
    );
    assert_eq!(change(note(None), note(None)).await, None);
    let extra = |value| Model {
        extra: Set(Some(value)),
        ..Default::default()
    };
    assert_eq!(
        change(extra(json!("null")), extra(json!(["null"]))).await,
        Some(json!({ "extra": { "old": "null", "new": ["null"] } }))
    );
}

#[tokio::test]
async fn json_is_compared_by_value_not_by_text() {
    let extra = |text: &str| Model {
        extra: Set(Some(text.parse().unwrap())),
        ..Default::default()
    };
    assert_eq!(
        change(extra(r#"{"a":1,"b":[2]}"#), extra(r#"{ "b" : [2], "a" : 1 }"#)).await,
        None
    );
    assert!(change(extra("[1,2]"), extra("[2,1]")).await.is_some());
}

/// PostgreSQL's jsonb compares them in the same way.
#[tokio::test]
async fn numbers_in_json_are_compared_by_value_not_by_digits() {
    let extra = |text: &str| Model {
        extra: Set(Some(text.parse().unwrap())),
        ..Default::default()
    };
    for (first, then) in [
        (r#"{"a":1}"#, r#"{"a":1.0}"#),
        (r#"[{"a":[100]}]"#, r#"[{"a":[1e2]}]"#),
        ("0.10", "1e-1"),
        ("-0.0", "0"),
        (r#"{"a":1,"b":2}"#, r#"{"b":2.0,"a":3,"a":1}"#),
    ] {
        let mut owner = sqlx::query_scalar::<_, bool>("SELECT $1::text::jsonb = $2::text::jsonb");
        owner = owner.bind(first).bind(then);
        let fixture = TeamFixture::new().await;
        assert!(
            owner.fetch_one(&mut fixture.db.owner().await).await.unwrap(),
            "{first} {then}"
        );
        assert_eq!(change(extra(first), extra(then)).await, None, "{first} {then}");
    }
    assert!(change(extra(r#"{"a":1}"#), extra(r#"{"a":"1"}"#)).await.is_some());
    // Equal as doubles, but two numbers.
    assert!(
        change(extra("18446744073709551615"), extra("18446744073709551616"))
            .await
            .is_some()
    );
}

#[tokio::test]
async fn a_json_null_differs_from_no_value() {
    let extra = |value| Model {
        extra: Set(value),
        ..Default::default()
    };
    assert_eq!(
        change(extra(None), extra(Some(Value::Null))).await,
        Some(json!({ "extra": { "old": null, "new": { "json_null": true } } }))
    );
    assert_eq!(
        change(extra(Some(Value::Null)), extra(None)).await,
        Some(json!({ "extra": { "old": { "json_null": true }, "new": null } }))
    );
}

#[tokio::test]
async fn an_integer_that_json_would_round_is_text() {
    let serial = |n| Model {
        serial: Set(n),
        ..Default::default()
    };
    let most = (1_i64 << 53) - 1;
    assert_eq!(
        change(serial(most), serial(most + 2)).await,
        Some(json!({ "serial": { "old": most, "new": "9007199254740993" } }))
    );
    assert_eq!(
        change(serial(i64::MIN), serial(i64::MAX)).await,
        Some(json!({ "serial": { "old": "-9223372036854775808", "new": "9223372036854775807" } }))
    );
}

#[tokio::test]
async fn bytes_are_base64_and_lists_are_lists() {
    let first = Model {
        picture: Set(Some(vec![0, 255])),
        tags: Set(vec!["a".into()]),
        ..Default::default()
    };
    let then = Model {
        picture: Set(Some(vec![0])),
        tags: Set(vec!["a".into(), "b,\"".into()]),
        ..Default::default()
    };
    assert_eq!(
        change(first, then).await,
        Some(json!({
            "picture": { "old": "AP8=", "new": "AA==" },
            "tags": { "old": ["a"], "new": ["a", "b,\""] },
        }))
    );
    let none = Model {
        tags: Set(Vec::new()),
        ..Default::default()
    };
    assert_eq!(change(none.clone(), none).await, None);
}

/// The bulk insert sends its rows as JSON: no value may be lost or changed.
#[tokio::test]
async fn rows_written_in_bulk_equal_rows_written_one_by_one() {
    let fixture = TeamFixture::new().await;
    let awkward = |name: &str| Model {
        price: Set(decimal("79228162514264337593543950335")),
        due_at: Set(at("2026-03-29T01:59:59.999999+01:00")),
        serial: Set(i64::MIN),
        extra: Set(Some(
            json!({ "deep": [null, 1.5e300, "\u{1F600} \\ \" 'x'", { "": {} }] }),
        )),
        note: Set(Some("line\nline\t“quoted” 'x' \\N {a,b}".into())),
        picture: Set(Some((0..=255).collect())),
        tags: Set(vec!["".into(), "NULL".into(), "a,b".into(), "{\"}".into(), "\\".into()]),
        secret: Set(None),
        ..widget::named(name)
    };
    let tx = fixture.begin().await;
    let one = create_model_with_event(&tx, awkward("one"), Track::All).await.unwrap();
    let many = create_models_with_events(&tx, vec![awkward("a"), awkward("b")], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for model in many {
        let as_one = widget::Model {
            id: one.id,
            name: "one".into(),
            ..model.clone()
        };
        assert_eq!(as_one, one);
    }
    let events = fixture.team.events().await;
    let values = |n: usize| {
        let mut values = events[n].event_data["initial_values"].clone();
        values["name"] = json!("");
        values
    };
    assert_eq!(values(1), values(0));
    assert_eq!(values(0)["price"], "79228162514264337593543950335");
    assert_events!(
        fixture.team,
        ["CREATED widget “one”", "CREATED widget “a”", "CREATED widget “b”"]
    );
}

/// A JSON null is a value of a jsonb column; it differs from the absence of a value.
#[tokio::test]
async fn a_json_null_is_also_kept_in_bulk() {
    let fixture = TeamFixture::new().await;
    let model = |name: &str| Model {
        extra: Set(Some(Value::Null)),
        ..widget::named(name)
    };
    let tx = fixture.begin().await;
    create_model_with_event(&tx, model("one"), Track::All).await.unwrap();
    create_models_with_events(&tx, vec![model("many")], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let absent: Vec<bool> = sqlx::query_scalar("SELECT extra IS NULL FROM widgets ORDER BY name")
        .fetch_all(&mut fixture.team.connection().await)
        .await
        .unwrap();
    assert_eq!(absent[0], absent[1], "written in bulk and one by one");
}
