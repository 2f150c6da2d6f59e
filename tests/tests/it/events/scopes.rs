//! Scopes: the object that another object belongs to, as a task belongs to a campaign.

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook::threads::post_to_thread;
use daybook_tests::TeamFixture;

/// A task, stored in the table of the widgets: its note is the id of its campaign.
mod task {
    use daybook::events::{FieldPolicy, ObjectRef, Tracked};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "widgets")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub team_id: Uuid,
        pub name: String,
        pub note: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl Tracked for Model {
        const OBJECT_TYPE: &'static str = "task";

        fn label(&self) -> String {
            self.name.clone()
        }

        fn field_policy(column: &Column) -> FieldPolicy {
            match column {
                Column::Id | Column::TeamId => FieldPolicy::Ignore,
                Column::Name | Column::Note => FieldPolicy::Track,
            }
        }

        fn scope(&self) -> Option<ObjectRef> {
            let id = self.note.clone()?;
            Some(ObjectRef {
                object_type: "campaign".to_owned(),
                id,
            })
        }
    }
}

fn task(name: &str, campaign: &str) -> task::ActiveModel {
    task::ActiveModel {
        name: Set(name.to_owned()),
        note: Set(Some(campaign.to_owned())),
        ..Default::default()
    }
}

fn moved(campaign: Option<&str>) -> task::ActiveModel {
    task::ActiveModel {
        note: Set(campaign.map(str::to_owned)),
        ..Default::default()
    }
}

fn short(scope: Option<&ObjectRef>) -> String {
    scope.map_or("none".to_owned(), |scope| format!("{} {}", scope.object_type, scope.id))
}

/// Returns the scopes of the threads, and of the newest event of each object, by the objects' labels.
async fn scopes(fixture: &TeamFixture) -> [Vec<String>; 2] {
    let threads =
        sqlx::query_scalar("SELECT coalesce(scope_type || ' ' || scope_id, 'none') FROM threads ORDER BY object_label");
    let threads = threads.fetch_all(&mut fixture.team.connection().await).await.unwrap();
    let events = fixture.team.events().await;
    let newest = events
        .iter()
        .map(|event| (&event.object_label, short(event.scope.as_ref())));
    let newest: std::collections::BTreeMap<_, _> = newest.collect();
    [threads, newest.into_values().collect()]
}

#[tokio::test]
async fn an_objects_events_and_thread_carry_its_scope_which_may_change() {
    let fixture = TeamFixture::with_consumers(Consumers::of([post_to_thread::CONSUMER]).unwrap()).await;
    let tx = fixture.begin().await;
    let one = create_model_with_event(&tx, task("1", "spring"), Track::All)
        .await
        .unwrap();
    create_models_with_events(&tx, vec![task("2", "spring"), task("3", "summer")], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let expected = ["campaign spring", "campaign spring", "campaign summer"];
    assert_eq!(scopes(&fixture).await, [expected, expected]);

    let tx = fixture.begin().await;
    let all = task::Entity::find;
    update_models_with_events(&tx, all(), moved(Some("autumn")), Track::All)
        .await
        .unwrap();
    let one = update_model_with_event(&tx, &one, moved(Some("winter")), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let expected = ["campaign winter", "campaign autumn", "campaign autumn"];
    assert_eq!(scopes(&fixture).await, [expected, expected]);

    let tx = fixture.begin().await;
    update_model_with_event(&tx, &one, moved(None), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let expected = ["none", "campaign autumn", "campaign autumn"];
    assert_eq!(scopes(&fixture).await, [expected, expected]);
}
