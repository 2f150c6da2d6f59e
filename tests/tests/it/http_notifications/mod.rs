//! What a person wants to be told of, and why they were told.

mod seen;

use axum::http::StatusCode;
use daybook::events::{EventType, RawEventData, emit_event, emit_events};
use daybook::tenancy::Role;
use daybook_entity::campaign;
use daybook_tests::http::{Campaign, Client, TestApp};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

async fn prefer(person: &Client, rule: &str, in_app: bool) -> Value {
    let path = format!("/notification-preferences/{rule}");
    person.put(&path).json(json!({"in_app": in_app})).await.ok()
}

/// Everybody's newest `why`, of the only notification.
async fn why(person: &Client) -> Value {
    let inbox = person.inbox().await;
    assert_eq!(inbox["items"].as_array().unwrap().len(), 1, "{inbox}");
    inbox["items"][0]["why"].clone()
}

async fn budget(person: &Client, campaign: &Campaign, budget: &str) {
    person.patch(&campaign.path, json!({"budget": budget})).await.ok();
}

#[tokio::test]
async fn preferences_are_one_s_own_to_set_list_and_take_away() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Viewer).await;
    let first = prefer(&grace, "COMMENT/campaign", false).await;
    assert_eq!(
        (&first["event_type"], &first["object_type"], &first["in_app"]),
        (&json!("COMMENT"), &json!("campaign"), &json!(false))
    );
    assert_eq!(prefer(&grace, "COMMENT/campaign", false).await, first, "twice is once");
    assert_eq!(prefer(&grace, "COMMENT/campaign", true).await["in_app"], true);
    for rule in ["*/*", "MENTION/*", "*/campaign", "%2A/campaign"] {
        prefer(&grace, rule, false).await;
    }
    let mut listed = Vec::new();
    let mut path = "/notification-preferences?limit=1".to_owned();
    loop {
        let page = grace.get(&path).await.ok();
        for item in page["items"].as_array().unwrap() {
            listed.push(format!(
                "{}/{}",
                item["event_type"].as_str().unwrap(),
                item["object_type"].as_str().unwrap()
            ));
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/notification-preferences?limit=1&cursor={next}");
    }
    listed.sort();
    assert_eq!(listed, ["*/*", "*/campaign", "COMMENT/campaign", "MENTION/*"]);
    assert_eq!(ada.get("/notification-preferences").await.ok()["items"], json!([]));
    for _ in 0..2 {
        grace
            .delete("/notification-preferences/*/*")
            .await
            .is(StatusCode::NO_CONTENT);
    }
    grace
        .delete("/notification-preferences/NEVER/heard")
        .await
        .is(StatusCode::NO_CONTENT);
    assert_eq!(
        grace.get("/notification-preferences").await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
async fn what_nobody_knows_can_t_be_preferred() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for (rule, field, says) in [
        (
            "updated/campaign",
            "event_type",
            "CREATED, UPDATED, DELETED, STATE_CHANGED, RESTORED, CUSTOM, COMMENT, MENTION",
        ),
        ("UPDATED/compaign", "object_type", "known are: campaign"),
        ("UPDATED/Campaign", "object_type", "a-z"),
        ("*/**", "object_type", "a-z"),
    ] {
        let path = format!("/notification-preferences/{rule}");
        let answer = ada.put(&path).json(json!({"in_app": false})).await;
        assert!(answer.text().contains(says), "{answer:?}");
        assert_eq!(answer.wrong_fields(), [field]);
    }
    for (body, field) in [
        (json!({}), "in_app"),
        (json!({"in_app": "no"}), "in_app"),
        (json!({"in_app": true, "email": true}), "email"),
    ] {
        let answer = ada.put("/notification-preferences/*/*").json(body).await;
        assert_eq!(answer.wrong_fields(), [field]);
    }
    let (key, _) = ada.make_key("robot", "admin").await;
    for ask in [
        key.get("/notification-preferences"),
        key.put("/notification-preferences/*/*").json(json!({"in_app": true})),
        key.delete("/notification-preferences/*/*"),
    ] {
        ask.await.problem(StatusCode::FORBIDDEN, "forbidden");
    }
}

#[tokio::test]
async fn the_most_specific_rule_counts() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (spring, _) = ada.campaign_with_thread("Spring").await;
    let mut n = 100;
    // From the weakest rule to the strongest; each is set beside those before it and turns the answer round.
    for (rule, told) in [
        ("*/*", false),
        ("UPDATED/*", true),
        ("*/campaign", false),
        ("UPDATED/campaign", true),
    ] {
        prefer(&ada, rule, told).await;
        ada.put("/notifications/read").await.ok();
        n += 1;
        budget(&grace, &spring, &n.to_string()).await;
        assert_eq!(ada.unread().await.len(), usize::from(told), "{rule}");
        // Rules of other events and of mentions say nothing here.
        for beside in ["COMMENT/campaign", "MENTION/*", "DELETED/*"] {
            prefer(&ada, beside, !told).await;
        }
    }
    assert_eq!(
        why(&ada).await["preference"],
        json!({"event_type": "UPDATED", "object_type": "campaign"})
    );
    for (rule, told) in [
        ("UPDATED/campaign", false),
        ("*/campaign", true),
        ("UPDATED/*", false),
        ("*/*", true),
    ] {
        ada.delete(&format!("/notification-preferences/{rule}"))
            .await
            .is(StatusCode::NO_CONTENT);
        ada.put("/notifications/read").await.ok();
        n += 1;
        budget(&grace, &spring, &n.to_string()).await;
        assert_eq!(ada.unread().await.len(), usize::from(told), "without {rule}");
    }
}

#[tokio::test]
async fn watches_comments_and_mutes_beside_preferences() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    grace.put("/watches/campaign").await.ok();
    prefer(&grace, "CREATED/*", false).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    assert!(
        grace.unread().await.is_empty(),
        "a rule takes away what a watch would bring"
    );
    prefer(&grace, "CREATED/*", true).await;
    let (_, summer) = ada.campaign_with_thread("Summer").await;
    assert_eq!(grace.unread().await, ["1 × Ada created campaign “Summer” (watcher)"]);
    let told = why(&grace).await;
    assert_eq!(
        told["text"],
        "You watch for every new campaign, and your preference for CREATED on anything lets it through."
    );
    grace.put("/notifications/read").await.ok();

    // Comments of their own, and mutes above all.
    grace.put(&format!("{thread}/follow")).await.ok();
    prefer(&grace, "COMMENT/campaign", false).await;
    ada.comment(&thread, "psst").await;
    assert!(grace.unread().await.is_empty());
    budget(&ada, &spring, "7").await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada changed budget of campaign “Spring” from 100 to 7 (follower)"]
    );
    grace.put("/notifications/read").await.ok();
    grace.put(&format!("{thread}/mute")).await.ok();
    prefer(&grace, "*/*", true).await;
    budget(&ada, &spring, "8").await;
    assert!(grace.unread().await.is_empty());
    // A rule makes nobody a follower.
    prefer(&grace, "COMMENT/campaign", true).await;
    ada.comment(&summer, "to nobody").await;
    assert!(grace.unread().await.is_empty());
}

#[tokio::test]
async fn mentions_are_switched_off_by_name_only() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    for rule in ["*/*", "*/campaign", "COMMENT/*", "COMMENT/campaign"] {
        prefer(&grace, rule, false).await;
    }
    ada.comment(&thread, "look, @grace").await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada commented on campaign “Spring” (mentioned)"]
    );
    assert_eq!(why(&grace).await["preference"], Value::Null);
    grace.put("/notifications/read").await.ok();
    // She follows since then, and hears of mentions alone.
    ada.comment(&thread, "to whoever follows").await;
    assert!(grace.unread().await.is_empty());
    prefer(&grace, "MENTION/*", false).await;
    prefer(&grace, "MENTION/campaign", true).await;
    ada.comment(&thread, "@grace?").await;
    assert_eq!(grace.unread().await.len(), 1);
    assert_eq!(
        why(&grace).await["preference"],
        json!({"event_type": "MENTION", "object_type": "campaign"})
    );
    grace.put("/notifications/read").await.ok();
    prefer(&grace, "MENTION/campaign", false).await;
    ada.comment(&thread, "@grace!").await;
    assert!(grace.unread().await.is_empty());
    // Who wants comments but no mentions is told of a comment that mentions them, as a follower.
    prefer(&grace, "COMMENT/campaign", true).await;
    ada.comment(&thread, "@grace, at last").await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada commented on campaign “Spring” (follower)"]
    );

    // Who wants no mentions isn't made to follow by one.
    let linus = app.member("linus", Role::Member).await;
    prefer(&linus, "MENTION/*", false).await;
    ada.comment(&thread, "@linus, too").await;
    ada.comment(&thread, "and all").await;
    assert!(linus.unread().await.is_empty());
    assert_eq!(linus.get(&thread).await.ok()["following"], false);
}

#[tokio::test]
async fn why_is_told_as_it_was() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let linus = app.member("linus", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    budget(&grace, &spring, "7").await;
    let event = app.team.events().await.pop().unwrap();
    let told = why(&ada).await;
    assert_eq!(
        told,
        json!({
            "text": "You follow this thread, because you created the campaign.",
            "event_type": "UPDATED", "seq": 2, "event_id": event.id, "followed": "creator", "preference": null,
        })
    );
    // What changes later doesn't change what was: not preferences, not who follows.
    prefer(&ada, "UPDATED/campaign", false).await;
    prefer(&ada, "*/*", true).await;
    ada.delete(&format!("{thread}/follow")).await.ok();
    ada.put(&format!("{thread}/follow")).await.ok();
    assert_eq!(why(&ada).await, told);
    budget(&grace, &spring, "8").await;
    assert_eq!(
        ada.unread().await,
        ["1 × Grace changed budget of campaign “Spring” from 100 to 7 (follower)"]
    );
    grace.comment(&thread, "eight").await;
    assert_eq!(
        why(&ada).await,
        json!({
            "text": "You follow this thread, and your preference for everything on anything lets it through.",
            "event_type": "COMMENT", "seq": 4, "event_id": null, "followed": "manual",
            "preference": {"event_type": "*", "object_type": "*"},
        })
    );

    // A mention stays the reason while it is unread, with the message that it was in.
    ada.comment(&thread, "@linus").await;
    let mentioned = why(&linus).await;
    assert_eq!(
        (&mentioned["text"], &mentioned["event_type"], &mentioned["seq"]),
        (&json!("A comment mentioned you."), &json!("MENTION"), &json!(5))
    );
    ada.comment(&thread, "and all").await;
    assert_eq!(why(&linus).await, mentioned);
    assert_eq!(linus.inbox().await["items"][0]["seq"], 6, "the newest is another");
    ada.comment(&thread, "@linus, again").await;
    assert_eq!(why(&linus).await["seq"], 7, "a newer mention takes its place");
    linus.put("/notifications/read").await.ok();
    ada.comment(&thread, "more").await;
    let told = why(&linus).await;
    assert_eq!((&told["followed"], &told["seq"]), (&json!("mentioned"), &json!(8)));
    assert_eq!(
        told["text"],
        "You follow this thread, because you had been mentioned in it."
    );
    ada.put("/notifications/read").await.ok();
    linus.comment(&thread, "yes").await;
    assert_eq!(why(&grace).await["followed"], "commenter");

    // A row from before it was kept.
    sqlx::query("UPDATE notifications SET why_seq = NULL, why_event_type = NULL")
        .execute(&mut app.team.connection().await)
        .await
        .unwrap();
    assert_eq!(why(&grace).await, Value::Null);
}

/// Plain JSON may be of several types in one call: each is weighed by its own rule, and counts once.
#[tokio::test]
async fn one_call_with_events_of_several_types() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    grace.put(&format!("{thread}/follow")).await.ok();
    prefer(&grace, "CUSTOM/*", false).await;
    let tx = app.database.begin(&app.team.system()).await.unwrap();
    let model = campaign::Entity::find_by_id(uuid::Uuid::try_parse(&spring.id).unwrap())
        .one(&tx)
        .await
        .unwrap()
        .unwrap();
    let raw = |event_type| (&model, RawEventData::new(event_type, json!({"name": "seen"})));
    let events = emit_events(
        &tx,
        vec![raw(EventType::Updated), raw(EventType::Updated), raw(EventType::Custom)],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ada.unread().await.len(), 1);
    let (adas, graces) = (
        ada.inbox().await["items"][0].clone(),
        grace.inbox().await["items"][0].clone(),
    );
    assert_eq!((&adas["unread_count"], &adas["seq"]), (&json!(3), &json!(4)));
    assert_eq!(
        (&graces["unread_count"], &graces["seq"]),
        (&json!(2), &json!(3)),
        "without the one that she doesn't want"
    );
    assert_eq!(graces["why"]["event_id"], json!(events[1].id));
    // A single one of the kind costs nothing to anybody.
    let tx = app.database.begin(&app.team.system()).await.unwrap();
    emit_event(&tx, &model, RawEventData::new(EventType::Custom, json!({})))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(grace.inbox().await["items"][0], graces);
}
