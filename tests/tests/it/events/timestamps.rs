//! Dates and times must be those that RFC 3339 can write. Others that SQL has written can be read, changed and deleted.

use chrono::{DateTime, TimeZone, Utc};
use daybook::error::Error;
use daybook::events::{
    Track, create_model_with_event, create_models_with_events, delete_model_with_event, update_model_with_event,
    update_models_with_events,
};
use daybook_tests::{TeamFixture, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait, QueryOrder};
use sqlx::Row as _;

fn due(year: i32) -> widget::ActiveModel {
    let at = Utc.with_ymd_and_hms(year, 6, 1, 0, 0, 0).unwrap();
    widget::ActiveModel {
        due_at: Set(Some(at.fixed_offset())),
        ..Default::default()
    }
}

fn named(year: i32) -> widget::ActiveModel {
    widget::ActiveModel {
        name: Set(format!("due in {year}")),
        ..due(year)
    }
}

fn refused_field<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Invalid(fields)) if fields.len() == 1 => {
            assert!(fields[0].detail.contains("0001 to 9999"), "{fields:?}");
            fields[0].field.clone()
        }
        other => panic!("expected one refused field, got {other:?}"),
    }
}

#[tokio::test]
async fn every_helper_refuses_a_year_that_cannot_be_written() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let tx = fixture.begin().await;
    for year in [10_000, 0, -1, 200_000] {
        assert_eq!(
            refused_field(create_model_with_event(&tx, named(year), Track::All).await),
            "due_at"
        );
        let many = create_models_with_events(&tx, vec![named(2026), named(year)], Track::All).await;
        assert_eq!(refused_field(many), "[1].due_at");
        let updated = update_model_with_event(&tx, &widget, due(year), Track::All).await;
        assert_eq!(refused_field(updated), "due_at");
        let all = update_models_with_events(&tx, widget::Entity::find(), due(year), Track::All).await;
        assert_eq!(refused_field(all), "due_at");
    }
    for year in [1, 9999] {
        create_model_with_event(&tx, named(year), Track::All).await.unwrap();
    }
    let many = [2, 9998].map(named).to_vec();
    create_models_with_events(&tx, many, Track::All).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.count("widgets").await, 5);
}

/// The infinities of PostgreSQL, years that chrono can't hold, and years that RFC 3339 can't write.
#[tokio::test]
async fn timestamps_that_sql_has_written_can_be_read_changed_and_deleted() {
    for (written, read) in [
        ("infinity", "9999-12-31T23:59:59.999999Z"),
        ("-infinity", "0001-01-01T00:00:00Z"),
        ("294276-12-31 23:59:59Z", "9999-12-31T23:59:59.999999Z"),
        ("20000-01-01Z", "9999-12-31T23:59:59.999999Z"),
        ("4000-01-01Z BC", "0001-01-01T00:00:00Z"),
    ] {
        let fixture = TeamFixture::new().await;
        let widget = fixture.widget("w").await;
        sqlx::query("UPDATE widgets SET due_at = $1::text::timestamptz, created_at = $1::text::timestamptz")
            .bind(written)
            .execute(&mut fixture.team.connection().await)
            .await
            .unwrap();
        let read: DateTime<Utc> = read.parse().unwrap();

        let tx = fixture.begin().await;
        let found = widget::Entity::find_by_id(widget.id).one(&tx).await.unwrap().unwrap();
        assert_eq!(
            (found.due_at.unwrap().to_utc(), found.created_at),
            (read, read),
            "{written}"
        );
        let all = widget::Entity::find()
            .order_by_asc(widget::Column::Name)
            .all(&tx)
            .await
            .unwrap();
        assert_eq!(all, std::slice::from_ref(&found));
        let renamed = widget::ActiveModel {
            name: Set("v".to_owned()),
            ..Default::default()
        };
        let renamed = update_model_with_event(&tx, &found, renamed, Track::All).await.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.created_at), ("v", read));
        let noted = widget::ActiveModel {
            note: Set(Some("n".to_owned())),
            ..Default::default()
        };
        let noted = update_models_with_events(&tx, widget::Entity::find(), noted, Track::All)
            .await
            .unwrap();
        assert_eq!(noted[0].due_at.unwrap().to_utc(), read);
        // The unchanged columns still have their written values.
        let kept: bool = tx
            .fetch_all(sqlx::query("SELECT due_at = $1::text::timestamptz AS kept FROM widgets").bind(written))
            .await
            .unwrap()[0]
            .get("kept");
        assert!(kept, "{written}");
        let changed = update_model_with_event(&tx, &noted[0], due(2026), Track::All)
            .await
            .unwrap();
        assert_eq!(changed.due_at.unwrap().to_rfc3339(), "2026-06-01T00:00:00+00:00");
        delete_model_with_event(&tx, changed, None).await.unwrap();
        tx.commit().await.unwrap();
        let events = fixture.team.events().await;
        assert_eq!(events.len(), 5);
        let old = events[3].event_data["changes"]["due_at"]["old"].as_str().unwrap();
        assert_eq!(old.parse::<DateTime<Utc>>().unwrap(), read);
    }
}

/// A default of the table, as for "never ends".
#[tokio::test]
async fn a_default_of_infinity_can_be_created() {
    let fixture = TeamFixture::new().await;
    let mut owner = fixture.db.owner().await;
    sqlx::query("ALTER TABLE widgets ALTER COLUMN due_at SET DEFAULT 'infinity'")
        .execute(&mut owner)
        .await
        .unwrap();
    let tx = fixture.begin().await;
    let one = create_model_with_event(&tx, widget::named("one"), Track::All)
        .await
        .unwrap();
    let many = create_models_with_events(&tx, vec![widget::named("a"), widget::named("b")], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for widget in many.iter().chain([&one]) {
        assert_eq!(
            widget.due_at.unwrap().to_utc().to_string(),
            "9999-12-31 23:59:59.999999 UTC"
        );
    }
}

/// A statement that can't be run again with clamped values, because two of its columns have one name, and a list: both
/// give an error with the column's name, not a panic.
#[tokio::test]
async fn a_timestamp_that_cannot_be_clamped_is_an_error() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    for sql in [
        "SELECT 'infinity'::timestamptz AS ends_at, 1 AS a, 2 AS a",
        "SELECT ARRAY['infinity'::timestamp] AS ends_at",
    ] {
        let Err(error) = tx.fetch_all(sqlx::query(sql)).await else {
            panic!("{sql} was read");
        };
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("ends_at") && cause.contains("0001 to 9999"), "{cause}");
    }
    // The transaction continues.
    for sql in [
        "SELECT 'infinity'::timestamptz AS ends_at",
        "SELECT '-infinity'::date AS ends_at",
    ] {
        tx.fetch_all(sqlx::query(sql)).await.unwrap();
    }
    tx.fetch_all(sqlx::query("SELECT now() AS ends_at")).await.unwrap();
    tx.commit().await.unwrap();
}
