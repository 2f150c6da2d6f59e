//! The name that readers see for an erased person: the recorded one, or a pseudonym.

use axum::http::{Method, StatusCode};
use daybook::events::{Consumers, events_by_id};
use daybook::tenancy::{Context, ErasedNames, Role};
use daybook::testing::TestDb;
use daybook_tests::http::{TestApp, impersonation, sample_program};
use daybook_tests::live::LiveClient;
use serde_json::{Value, json};

/// Starts a service with this setting, and returns the texts that it shows about Mia's actions from before she was
/// erased.
async fn after_erasure(erased_names: ErasedNames) -> (TestApp, String, Vec<String>) {
    let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
    let options = db.options().max_connections(6).erased_names(erased_names);
    let app = TestApp::start_with(db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    let mia = app.invited_member(&ada, "mia", "admin").await;
    let renamed = mia
        .request(Method::PATCH, "/v1/me")
        .json(json!({"display_name": "Mia Moon"}));
    renamed.await.ok();
    let (_, thread) = mia.campaign_with_thread("Spring").await;
    ada.put(&format!("{thread}/follow")).await.ok();
    mia.comment(&thread, "I am Mia").await;
    // Mia acts on Ada's behalf, and Ada on Mia's.
    for (acting, subject) in [("mia", "ada"), ("ada", "mia")] {
        let client = app.bearer(impersonation(acting, subject));
        client.comment(&thread, "for somebody").await;
        client.create_campaign(&format!("{acting} for {subject}"), "1").await;
    }
    mia.request(Method::DELETE, "/v1/me").await.is(StatusCode::NO_CONTENT);

    let mut shown = Vec::new();
    for query in ["", "?group=true", "?order=desc"] {
        shown.push(ada.get(&format!("{thread}/messages{query}")).await.ok().to_string());
    }
    shown.push(ada.get(&format!("{thread}/messages/2")).await.ok().to_string());
    shown.push(ada.inbox().await.to_string());
    let events = app.team.events().await;
    let story = format!("/stories/{}", events[0].correlation_id);
    let mias: Vec<_> = events.iter().filter(|event| event.actor.name() == "Mia Moon").collect();
    assert!(mias.len() >= 3, "events keep their content: {events:?}");
    for event in &mias {
        shown.push(
            ada.get(&format!("/stories/{}", event.correlation_id))
                .await
                .ok()
                .to_string(),
        );
    }
    ada.get(&story).await.ok();

    // The events as `daybook activity`, durable consumers and webhooks read them.
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let tx = app.database.begin(&Context::system(app.team.id, "test")).await.unwrap();
    let read = events_by_id(&tx, &ids).await.unwrap();
    tx.rollback().await.unwrap();
    let names = read.iter().flat_map(|event| {
        [
            Some(event.actor.name()),
            event.on_behalf_of.as_ref().map(|person| person.name.as_str()),
        ]
    });
    shown.push(names.flatten().collect::<Vec<_>>().join(", "));

    let address = app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &ada).await;
    live.follow_thread(thread.trim_start_matches("/threads/"), Some(0))
        .await;
    let mut messages = 0;
    let mut frames = String::new();
    while messages < 4 {
        let frame = live.next().await;
        messages += frame["messages"].as_array().map_or(0, Vec::len);
        frames.push_str(&frame.to_string());
    }
    live.follow(json!({"type": "subscribe", "topic": "notifications"}))
        .await;
    frames.push_str(&live.next().await.to_string());
    shown.push(frames);
    let pseudonym = format!("Erased person {}", &mia.id().to_string()[28..]);
    (app, pseudonym, shown)
}

#[tokio::test]
async fn a_pseudonym_replaces_the_name_everywhere() {
    let (app, pseudonym, shown) = after_erasure(ErasedNames::Pseudonym).await;
    for text in &shown {
        assert!(!text.contains("Mia Moon"), "{text}");
        assert!(text.contains(&pseudonym), "{pseudonym}: {text}");
    }
    // A comment's text is what a person wrote, so it stays.
    assert!(shown[0].contains("I am Mia"), "{}", shown[0]);

    // Another process with the other setting, on the same database.
    let keeping = app.db.database_with(Consumers::none()).await;
    let tx = keeping.begin(&Context::system(app.team.id, "test")).await.unwrap();
    let ids: Vec<_> = app.team.events().await.iter().map(|event| event.id).collect();
    let read = events_by_id(&tx, &ids).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(read.iter().any(|event| event.actor.name() == "Mia Moon"), "{read:?}");
}

#[tokio::test]
async fn names_are_kept_by_default() {
    let (_, pseudonym, shown) = after_erasure(ErasedNames::default()).await;
    for text in &shown {
        assert!(text.contains("Mia Moon") && !text.contains(&pseudonym), "{text}");
    }
}

/// The run-time role can ask about an id that it knows. It can't list the erased people, and can't declare anybody
/// erased.
#[tokio::test]
async fn only_the_database_knows_who_was_erased() {
    let app = TestApp::start().await;
    let mut role = app.team.connection().await;
    for sql in [
        "SELECT FROM erased_people",
        "DELETE FROM erased_people",
        "INSERT INTO erased_people (user_id) VALUES ('00000000-0000-0000-0000-000000000000')",
    ] {
        let refused = daybook_tests::refusal(&mut role, sql).await;
        assert_eq!(refused.map(|(code, _)| code).as_deref(), Some("42501"), "{sql}");
    }
    let name: Value = sqlx::query_scalar("SELECT to_jsonb(daybook_shown_name(gen_random_uuid(), 'Ada'))")
        .fetch_one(&mut role)
        .await
        .unwrap();
    assert_eq!(name, json!("Ada"));
}
