//! Many models and their events in one call.

use daybook::assert_events;
use daybook::error::Error;
use daybook::events::{Track, create_models_with_events, update_models_with_events};
use daybook_tests::{TeamFixture, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

#[tokio::test]
async fn results_and_events_are_in_the_callers_order() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    // The rows alternate between two groups that set different columns, and their ids fall while their order rises.
    let mut ids: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
    ids.reverse();
    let models = ids
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let model = widget::ActiveModel {
                id: Set(*id),
                ..widget::named(&n.to_string())
            };
            if n % 2 == 0 {
                widget::ActiveModel {
                    note: Set(Some("even".into())),
                    ..model
                }
            } else {
                model
            }
        })
        .collect();
    let created = create_models_with_events(&tx, models, Track::All).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(created.iter().map(|widget| widget.id).collect::<Vec<_>>(), ids);
    let labels: Vec<_> = fixture
        .team
        .events()
        .await
        .into_iter()
        .map(|event| event.object_label)
        .collect();
    assert_eq!(labels, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// SeaORM's own `insert_many` writes NULL if one row sets a column and another does not.
#[tokio::test]
async fn a_column_that_only_some_rows_set_has_its_default_in_the_others() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let priced = widget::ActiveModel {
        price: Set(1.into()),
        serial: Set(1),
        ..widget::named("priced")
    };
    let noted = widget::ActiveModel {
        note: Set(Some("n".into())),
        ..widget::named("noted")
    };
    let created = create_models_with_events(&tx, vec![priced, widget::named("plain"), noted], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found: Vec<_> = created
        .iter()
        .map(|widget| {
            (
                widget.name.as_str(),
                widget.price.to_string(),
                widget.serial,
                widget.tags.join(","),
            )
        })
        .collect();
    let fresh = || "fresh".to_owned();
    assert_eq!(
        found,
        [
            ("priced", "1".to_owned(), 1, fresh()),
            ("plain", "9.50".to_owned(), 7, fresh()),
            ("noted", "9.50".to_owned(), 7, fresh()),
        ]
    );
}

#[tokio::test]
async fn an_empty_list_writes_no_rows_and_no_events() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let created =
        create_models_with_events::<widget::Entity, widget::Model, widget::ActiveModel>(&tx, vec![], Track::All);
    assert!(created.await.unwrap().is_empty());
    assert_eq!(tx.stats().round_trips(), 1, "the entry");
    let updated = update_models_with_events(&tx, widget::Entity::find(), widget::named("x"), Track::All)
        .await
        .unwrap();
    assert!(updated.is_empty());
    tx.commit().await.unwrap();
    assert_events!(fixture.team, []);
}

#[tokio::test]
async fn a_refused_row_is_named_and_nothing_is_written() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let refused = create_models_with_events(&tx, vec![widget::named("a"), widget::named("b\0")], Track::All).await;
    assert!(
        matches!(&refused, Err(Error::Invalid(fields)) if fields[0].field == "[1].name"),
        "{refused:?}"
    );
    let foreign = widget::ActiveModel {
        team_id: Set(Uuid::now_v7()),
        ..widget::named("c")
    };
    let refused = create_models_with_events(&tx, vec![foreign], Track::All).await;
    assert!(
        matches!(&refused, Err(Error::Invalid(fields)) if fields[0].field == "[0].team_id"),
        "{refused:?}"
    );
    tx.commit().await.unwrap();
    assert_eq!(fixture.count("widgets").await, 0);
}

#[tokio::test]
async fn an_update_of_many_records_the_change_of_each_row() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let models = [("a", "draft"), ("b", "done"), ("c", "active")].map(|(name, state)| widget::ActiveModel {
        state: Set(state.into()),
        ..widget::named(name)
    });
    create_models_with_events(&tx, models.to_vec(), Track::All)
        .await
        .unwrap();
    let done = widget::ActiveModel {
        state: Set("done".into()),
        ..Default::default()
    };
    let updated = update_models_with_events(&tx, widget::Entity::find(), done, Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let states: Vec<_> = updated
        .iter()
        .map(|widget| (widget.name.as_str(), widget.state.as_str()))
        .collect();
    assert_eq!(states, [("a", "done"), ("b", "done"), ("c", "done")]);
    assert_events!(
        fixture.team,
        [
            "CREATED widget “a”",
            "CREATED widget “b”",
            "CREATED widget “c”",
            "UPDATED widget “a”: state draft → done",
            "UPDATED widget “c”: state active → done",
        ]
    );
}

/// A row that already has the value keeps its version and its `updated_at`.
#[tokio::test]
async fn an_update_of_many_skips_rows_that_already_have_the_values() {
    let fixture = TeamFixture::new().await;
    let (a, b) = (fixture.widget("a").await, fixture.widget("b").await);
    let versions = async || -> Vec<String> {
        sqlx::query_scalar("SELECT xmin::text FROM widgets ORDER BY name")
            .fetch_all(&mut fixture.team.connection().await)
            .await
            .unwrap()
    };
    let before = versions().await;
    let tx = fixture.begin().await;
    let changes = widget::ActiveModel {
        name: Set("a".into()),
        ..Default::default()
    };
    let only_a = widget::Entity::find().filter(widget::Column::Id.eq(a.id));
    update_models_with_events(&tx, only_a, changes, Track::All)
        .await
        .unwrap();
    let serial = widget::ActiveModel {
        serial: Set(7),
        ..Default::default()
    };
    let same = update_models_with_events(&tx, widget::Entity::find(), serial, Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(same, [a, b]);
    assert_eq!(versions().await, before);
    assert_eq!(fixture.team.events().await.len(), 2);
}

#[tokio::test]
async fn two_concurrent_updates_of_many_record_the_real_changes() {
    let fixture = TeamFixture::new().await;
    fixture.widget("w").await;
    let serial = |n| widget::ActiveModel {
        serial: Set(n),
        ..Default::default()
    };
    let first = fixture.begin().await;
    update_models_with_events(&first, widget::Entity::find(), serial(8), Track::All)
        .await
        .unwrap();
    let second = tokio::spawn({
        let (database, entry) = (fixture.database.clone(), fixture.entry());
        async move {
            let tx = database.enter(&entry).await?;
            update_models_with_events(&tx, widget::Entity::find(), serial(9), Track::All).await?;
            tx.commit().await
        }
    });
    daybook_tests::wait_for_blocked_session(&fixture.db).await;
    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
    assert_events!(
        fixture.team,
        [
            "CREATED widget “w”",
            "UPDATED widget “w”: serial 7 → 8",
            "UPDATED widget “w”: serial 8 → 9",
        ]
    );
}

#[tokio::test]
async fn a_selection_may_filter_and_limit() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let models = ["a", "b", "c", "d"].map(widget::named).to_vec();
    create_models_with_events(&tx, models, Track::All).await.unwrap();
    let some = widget::Entity::find()
        .filter(widget::Column::Name.ne("a"))
        .order_by_desc(widget::Column::Name)
        .limit(2);
    let done = widget::ActiveModel {
        state: Set("done".into()),
        ..Default::default()
    };
    let updated = update_models_with_events(&tx, some, done, Track::All).await.unwrap();
    assert_eq!(
        updated.iter().map(|widget| widget.name.as_str()).collect::<Vec<_>>(),
        ["b", "c"],
        "in the order of their ids"
    );
}

#[tokio::test]
async fn another_teams_rows_are_not_selected() {
    let fixture = TeamFixture::new().await;
    let rival = fixture.db.team("Rival").await;
    let tx = fixture.database.begin(&rival.system()).await.unwrap();
    let theirs = create_models_with_events(&tx, vec![widget::named("theirs")], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    fixture.widget("ours").await;
    let tx = fixture.begin().await;
    let done = || widget::ActiveModel {
        state: Set("done".into()),
        ..Default::default()
    };
    let by_id = widget::Entity::find().filter(widget::Column::Id.eq(theirs[0].id));
    assert!(
        update_models_with_events(&tx, by_id, done(), Track::All)
            .await
            .unwrap()
            .is_empty()
    );
    let all = update_models_with_events(&tx, widget::Entity::find(), done(), Track::All)
        .await
        .unwrap();
    assert_eq!(all.len(), 1);
    let moved = widget::ActiveModel {
        team_id: Set(rival.id),
        ..Default::default()
    };
    let refused = update_models_with_events(&tx, widget::Entity::find(), moved, Track::All).await;
    assert!(
        matches!(&refused, Err(Error::Invalid(fields)) if fields[0].field == "team_id"),
        "{refused:?}"
    );
    tx.commit().await.unwrap();
    assert_events!(rival, ["CREATED widget “theirs”"]);
}
