//! What a person wants to be notified of, and why they were notified.

mod seen;

use axum::http::StatusCode;
use daybook::campaigns::campaign;
use daybook::events::{EventType, RawEventData, emit_event, emit_events};
use daybook::tenancy::Role;
use daybook_tests::http::{Campaign, Client, TestApp};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

async fn prefer(person: &Client, rule: &str, in_app: bool) -> Value {
    let path = format!("/notification-preferences/{rule}");
    person.put(&path).json(json!({"in_app": in_app})).await.ok()
}

/// Returns the person's only notification's `why`.
async fn why(person: &Client) -> Value {
    let inbox = person.inbox().await;
    assert_eq!(inbox["items"].as_array().unwrap().len(), 1, "{inbox}");
    inbox["items"][0]["why"].clone()
}

async fn change_budget(person: &Client, campaign: &Campaign, change_budget: &str) {
    person
        .patch(&campaign.path, json!({"budget": change_budget}))
        .await
        .ok();
}

#[tokio::test]
async fn a_person_sets_lists_and_removes_their_own_preferences() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Viewer).await;
    let first = prefer(&grace, "COMMENT/campaign", false).await;
    assert_eq!(
        (&first["event_type"], &first["object_type"], &first["in_app"]),
        (&json!("COMMENT"), &json!("campaign"), &json!(false))
    );
    assert_eq!(
        prefer(&grace, "COMMENT/campaign", false).await,
        first,
        "setting it twice changes nothing"
    );
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
async fn a_preference_for_an_unknown_type_is_refused() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for (rule, field, says) in [
        (
            "updated/campaign",
            "event_type",
            "CREATED, UPDATED, DELETED, STATE_CHANGED, RESTORED, CUSTOM, COMMENT, MENTION",
        ),
        ("UPDATED/compaign", "object_type", "the known types are: campaign"),
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
    for request in [
        key.get("/notification-preferences"),
        key.put("/notification-preferences/*/*").json(json!({"in_app": true})),
        key.delete("/notification-preferences/*/*"),
    ] {
        request.await.problem(StatusCode::FORBIDDEN, "forbidden");
    }
}

#[tokio::test]
async fn the_most_specific_rule_applies() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (spring, _) = ada.campaign_with_thread("Spring").await;
    let mut n = 100;
    // From the weakest rule to the strongest. Each is added to those before it and reverses the result.
    for (rule, notified) in [
        ("*/*", false),
        ("UPDATED/*", true),
        ("*/campaign", false),
        ("UPDATED/campaign", true),
    ] {
        prefer(&ada, rule, notified).await;
        ada.put("/notifications/read").await.ok();
        n += 1;
        change_budget(&grace, &spring, &n.to_string()).await;
        assert_eq!(ada.unread().await.len(), usize::from(notified), "{rule}");
        // Rules for other events and for mentions have no effect here.
        for beside in ["COMMENT/campaign", "MENTION/*", "DELETED/*"] {
            prefer(&ada, beside, !notified).await;
        }
    }
    assert_eq!(
        why(&ada).await["preference"],
        json!({"event_type": "UPDATED", "object_type": "campaign"})
    );
    for (rule, notified) in [
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
        change_budget(&grace, &spring, &n.to_string()).await;
        assert_eq!(ada.unread().await.len(), usize::from(notified), "without {rule}");
    }
}

#[tokio::test]
async fn a_rule_for_an_object_type_is_stronger_than_one_for_comments_or_mentions() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let linus = app.member("linus", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    grace.put(&format!("{thread}/follow")).await.ok();
    prefer(&grace, "COMMENT/*", false).await;
    prefer(&grace, "*/campaign", true).await;
    ada.comment(&thread, "one").await;
    assert_eq!(grace.unread().await.len(), 1);
    grace.put("/notifications/read").await.ok();
    prefer(&grace, "COMMENT/*", true).await;
    prefer(&grace, "*/campaign", false).await;
    ada.comment(&thread, "two").await;
    assert!(grace.unread().await.is_empty());

    // The same rule decides whether a mention makes a person a follower, in a comment and in its edit.
    prefer(&linus, "MENTION/*", true).await;
    prefer(&linus, "MENTION/campaign", false).await;
    let comment = ada.comment(&thread, "@linus?").await;
    let edited = format!("{thread}/messages/{}", comment["seq"]);
    let other = ada.comment(&thread, "and?").await;
    let other = format!("{thread}/messages/{}", other["seq"]);
    for path in [&edited, &other] {
        ada.patch(path, json!({"body": "@linus!"})).await.ok();
    }
    assert!(linus.unread().await.is_empty());
    assert_eq!(linus.get(&thread).await.ok()["following"], false);
}

#[tokio::test]
async fn watches_comments_and_mutes_combine_with_preferences() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    grace.put("/watches/campaign").await.ok();
    prefer(&grace, "CREATED/*", false).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    assert!(
        grace.unread().await.is_empty(),
        "a rule prevents what a watch would notify"
    );
    prefer(&grace, "CREATED/*", true).await;
    let (_, summer) = ada.campaign_with_thread("Summer").await;
    assert_eq!(grace.unread().await, ["1 × Ada created campaign “Summer” (watcher)"]);
    let reason = why(&grace).await;
    assert_eq!(
        reason["text"],
        "You watch for every new campaign, and your preference for CREATED on any object allows it."
    );
    grace.put("/notifications/read").await.ok();

    // Comments have their own rules, and a mute comes before all rules.
    grace.put(&format!("{thread}/follow")).await.ok();
    prefer(&grace, "COMMENT/campaign", false).await;
    ada.comment(&thread, "psst").await;
    assert!(grace.unread().await.is_empty());
    change_budget(&ada, &spring, "7").await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada changed budget of campaign “Spring” from 100 to 7 (follower)"]
    );
    grace.put("/notifications/read").await.ok();
    grace.put(&format!("{thread}/mute")).await.ok();
    prefer(&grace, "*/*", true).await;
    change_budget(&ada, &spring, "8").await;
    assert!(grace.unread().await.is_empty());
    // A rule does not make anybody a follower.
    prefer(&grace, "COMMENT/campaign", true).await;
    ada.comment(&summer, "to nobody").await;
    assert!(grace.unread().await.is_empty());
}

#[tokio::test]
async fn only_a_rule_for_mentions_turns_mentions_off() {
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
    // She follows since then, but is notified only of mentions.
    ada.comment(&thread, "to all followers").await;
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
    // A person who wants comments but no mentions is notified, as a follower, of a comment that mentions them.
    prefer(&grace, "COMMENT/campaign", true).await;
    ada.comment(&thread, "@grace, at last").await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada commented on campaign “Spring” (follower)"]
    );

    // A mention does not make a person who wants no mentions a follower.
    let linus = app.member("linus", Role::Member).await;
    prefer(&linus, "MENTION/*", false).await;
    ada.comment(&thread, "@linus, too").await;
    ada.comment(&thread, "and all").await;
    assert!(linus.unread().await.is_empty());
    assert_eq!(linus.get(&thread).await.ok()["following"], false);
}

#[tokio::test]
async fn the_reason_stays_as_it_was_at_that_time() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let linus = app.member("linus", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    change_budget(&grace, &spring, "7").await;
    let event = app.team.events().await.pop().unwrap();
    let reason = why(&ada).await;
    assert_eq!(
        reason,
        json!({
            "text": "You follow this thread, because you created the campaign.",
            "event_type": "UPDATED", "seq": 2, "event_id": event.id, "followed": "creator", "preference": null,
        })
    );
    // Later changes don't change the stored reason: neither preferences nor followers.
    prefer(&ada, "UPDATED/campaign", false).await;
    prefer(&ada, "*/*", true).await;
    ada.delete(&format!("{thread}/follow")).await.ok();
    ada.put(&format!("{thread}/follow")).await.ok();
    assert_eq!(why(&ada).await, reason);
    change_budget(&grace, &spring, "8").await;
    assert_eq!(
        ada.unread().await,
        ["1 × Grace changed budget of campaign “Spring” from 100 to 7 (follower)"]
    );
    grace.comment(&thread, "eight").await;
    assert_eq!(
        why(&ada).await,
        json!({
            "text": "You follow this thread, and your preference for everything on any object allows it.",
            "event_type": "COMMENT", "seq": 4, "event_id": null, "followed": "manual",
            "preference": {"event_type": "*", "object_type": "*"},
        })
    );

    // A mention stays the reason while the notification is unread, with its message.
    ada.comment(&thread, "@linus").await;
    let mentioned = why(&linus).await;
    assert_eq!(
        (&mentioned["text"], &mentioned["event_type"], &mentioned["seq"]),
        (&json!("A comment mentioned you."), &json!("MENTION"), &json!(5))
    );
    ada.comment(&thread, "and all").await;
    assert_eq!(why(&linus).await, mentioned);
    assert_eq!(
        linus.inbox().await["items"][0]["seq"],
        6,
        "the newest message is another one"
    );
    ada.comment(&thread, "@linus, again").await;
    assert_eq!(why(&linus).await["seq"], 7, "a newer mention replaces it");
    linus.put("/notifications/read").await.ok();
    ada.comment(&thread, "more").await;
    let reason = why(&linus).await;
    assert_eq!((&reason["followed"], &reason["seq"]), (&json!("mentioned"), &json!(8)));
    assert_eq!(
        reason["text"],
        "You follow this thread, because you were mentioned in it."
    );
    ada.put("/notifications/read").await.ok();
    linus.comment(&thread, "yes").await;
    assert_eq!(why(&grace).await["followed"], "commenter");

    // A row from before the reason was stored.
    sqlx::query("UPDATE notifications SET why_seq = NULL, why_event_type = NULL")
        .execute(&mut app.team.connection().await)
        .await
        .unwrap();
    assert_eq!(why(&grace).await, Value::Null);
}

/// Plain JSON events in one call may have several types: each is checked by its own rule, and counts once.
#[tokio::test]
async fn one_call_may_have_events_of_several_types() {
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
    // A single event of the type costs nobody anything.
    let tx = app.database.begin(&app.team.system()).await.unwrap();
    emit_event(&tx, &model, RawEventData::new(EventType::Custom, json!({})))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(grace.inbox().await["items"][0], graces);
}
