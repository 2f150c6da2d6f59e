//! The helpers refuse invalid values with the field's name, before they write anything.

use daybook::assert_events;
use daybook::error::Error;
use daybook::events::{
    CustomEventData, Track, create_model_with_event, delete_model_with_event, emit_event, transition_model_with_event,
    update_model_with_event,
};
use daybook_tests::{TeamFixture, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait, ModelTrait};
use serde_json::json;
use uuid::Uuid;

/// Returns the field that a refusal names.
fn refused_field<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Invalid(fields)) if fields.len() == 1 => fields[0].field.clone(),
        other => panic!("expected one refused field, got {other:?}"),
    }
}

#[tokio::test]
async fn another_teams_id_is_refused_and_its_objects_are_not_found() {
    let fixture = TeamFixture::new().await;
    let rival = fixture.db.team("Rival").await;
    let tx = fixture.database.begin(&rival.system()).await.unwrap();
    let theirs = create_model_with_event(&tx, widget::named("theirs"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let ours = fixture.widget("ours").await;

    let tx = fixture.begin().await;
    let foreign = || widget::ActiveModel {
        team_id: Set(rival.id),
        ..widget::named("x")
    };
    let created = create_model_with_event(&tx, foreign(), Track::All).await;
    assert_eq!(refused_field(created), "team_id");
    let updated = update_model_with_event(&tx, &ours, foreign(), Track::All).await;
    assert_eq!(refused_field(updated), "team_id");
    let other_id = widget::ActiveModel {
        id: Set(Uuid::now_v7()),
        ..Default::default()
    };
    let updated = update_model_with_event(&tx, &ours, other_id, Track::All).await;
    assert_eq!(refused_field(updated), "id");

    let updated = update_model_with_event(&tx, &theirs, widget::named("mine"), Track::All).await;
    assert!(
        matches!(&updated, Err(Error::NotFound { what }) if what == "widget"),
        "{updated:?}"
    );
    let moved = transition_model_with_event(&tx, &theirs, widget::Column::State, "done", None).await;
    assert!(matches!(moved, Err(Error::NotFound { .. })), "{moved:?}");
    let seen = CustomEventData {
        name: "seen".to_owned(),
        data: json!(null),
    };
    assert_eq!(refused_field(emit_event(&tx, &theirs, seen).await), "team_id");
    let deleted = delete_model_with_event(&tx, theirs, None).await;
    assert!(matches!(deleted, Err(Error::NotFound { .. })), "{deleted:?}");

    // The transaction's own team may be named, and the refusals above did not break the transaction.
    let own = widget::ActiveModel {
        team_id: Set(fixture.team.id),
        ..widget::named("own")
    };
    create_model_with_event(&tx, own, Track::All).await.unwrap();
    tx.commit().await.unwrap();
    assert_events!(fixture.team, ["CREATED widget “ours”", "CREATED widget “own”"]);
    assert_events!(rival, ["CREATED widget “theirs”"]);
}

#[tokio::test]
async fn a_nul_is_refused_with_the_name_of_its_field() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let tx = fixture.begin().await;
    let create = async |model| refused_field(create_model_with_event(&tx, model, Track::All).await);
    assert_eq!(create(widget::named("a\0b")).await, "name");
    assert_eq!(
        create(widget::ActiveModel {
            tags: Set(vec!["\0".into()]),
            ..widget::named("x")
        })
        .await,
        "tags"
    );
    let nested = json!({ "a": [{ "b\0": 1 }] });
    assert_eq!(
        create(widget::ActiveModel {
            extra: Set(Some(nested)),
            ..widget::named("x")
        })
        .await,
        "extra"
    );
    let note = widget::ActiveModel {
        note: Set(Some("\0".into())),
        ..Default::default()
    };
    assert_eq!(
        refused_field(update_model_with_event(&tx, &widget, note, Track::All).await),
        "note"
    );
    let moved = transition_model_with_event(&tx, &widget, widget::Column::State, "\0", None).await;
    assert_eq!(refused_field(moved), "state");
    let moved = transition_model_with_event(&tx, &widget, widget::Column::State, "done", Some("\0")).await;
    assert_eq!(refused_field(moved), "reason");
    assert_eq!(
        refused_field(delete_model_with_event(&tx, widget.clone(), Some("\0")).await),
        "reason"
    );
    tx.commit().await.unwrap();
    assert_events!(fixture.team, ["CREATED widget “w”"]);
    let tx = fixture.begin().await;
    let found = widget::Entity::find_by_id(widget.id).one(&tx).await.unwrap().unwrap();
    assert_eq!(
        found.get(widget::Column::State),
        widget.get(widget::Column::State),
        "changed without its event"
    );
}

#[tokio::test]
async fn a_deleted_row_is_not_found() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let mut inside = fixture.team.connection().await;
    sqlx::query("DELETE FROM widgets").execute(&mut inside).await.unwrap();
    let tx = fixture.begin().await;
    let updated = update_model_with_event(&tx, &widget, widget::named("v"), Track::All).await;
    assert!(matches!(updated, Err(Error::NotFound { .. })), "{updated:?}");
}
