//! The sentences for recorded events.

use daybook::events::{
    CustomEventData, EventType, RawEventData, Sentences, Track, create_model_with_event, delete_model_with_event,
    emit_event, transition_model_with_event, update_model_with_event,
};
use daybook::tenancy::{Context, Person};
use daybook_tests::{TeamFixture, campaign, widget};
use rust_decimal::Decimal;
use sea_orm::ActiveValue::Set;
use serde_json::json;

async fn sentences(fixture: &TeamFixture) -> Vec<String> {
    let sentences = Sentences::default();
    fixture
        .team
        .events()
        .await
        .iter()
        .map(|event| sentences.render(event).to_string())
        .collect()
}

#[tokio::test]
async fn the_sentences_of_a_campaigns_life_are_readable() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let budget = |n: i64| Set(Decimal::from(n));
    let spring = campaign::ActiveModel {
        name: Set("Spring".into()),
        budget: budget(100),
        ..Default::default()
    };
    let spring = create_model_with_event(&tx, spring, Track::All).await.unwrap();
    let more = campaign::ActiveModel {
        budget: budget(250),
        ..Default::default()
    };
    let spring = update_model_with_event(&tx, &spring, more, Track::All).await.unwrap();
    let email = campaign::ActiveModel {
        client_email: Set(Some("g@example.com".into())),
        ..Default::default()
    };
    let spring = update_model_with_event(&tx, &spring, email.clone(), Track::All)
        .await
        .unwrap();
    let both = campaign::ActiveModel {
        name: Set("Summer".into()),
        budget: budget(300),
        client_email: Set(None),
        ..Default::default()
    };
    let summer = update_model_with_event(&tx, &spring, both, Track::All).await.unwrap();
    let state = campaign::Column::State;
    let summer = transition_model_with_event(&tx, &summer, state, "approved", Some("looks good"))
        .await
        .unwrap();
    let paid = CustomEventData {
        name: "payment_received".into(),
        data: json!({ "amount": "12.50" }),
    };
    emit_event(&tx, &summer, paid).await.unwrap();
    emit_event(
        &tx,
        &summer,
        RawEventData::new(EventType::Updated, json!({ "what": "ever" })),
    )
    .await
    .unwrap();
    delete_model_with_event(&tx, summer, None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        sentences(&fixture).await,
        [
            "Ada created campaign “Spring”",
            "Ada changed budget of campaign “Spring” from 100 to 250",
            "Ada changed client email of campaign “Spring”",
            "Ada changed campaign “Summer”: budget from 250 to 300, client email, name from Spring to Summer",
            "Ada moved campaign “Summer” from draft to approved: looks good",
            "Ada recorded payment received on campaign “Summer”",
            "Ada changed campaign “Summer”",
            "Ada deleted campaign “Summer”",
        ]
    );
}

/// A sentence that names two different values shows that they differ.
#[tokio::test]
async fn values_that_differ_look_different() {
    let fixture = TeamFixture::new().await;
    let due = |text: &str| Set(Some(chrono::DateTime::parse_from_rfc3339(text).unwrap()));
    let tags = |tags: &[&str]| Set(tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
    let long = "word ".repeat(40);
    let flags = "🇫🇷🇩🇪".repeat(60);
    let pairs = [
        (
            widget::ActiveModel {
                tags: tags(&["a, b"]),
                ..Default::default()
            },
            widget::ActiveModel {
                tags: tags(&["a", "b"]),
                ..Default::default()
            },
        ),
        (
            widget::ActiveModel {
                due_at: due("2026-11-20T02:30:00Z"),
                ..Default::default()
            },
            widget::ActiveModel {
                due_at: due("2026-11-20T02:30:00.250Z"),
                ..Default::default()
            },
        ),
        (
            widget::ActiveModel {
                extra: Set(None),
                ..Default::default()
            },
            widget::ActiveModel {
                extra: Set(Some(serde_json::Value::Null)),
                ..Default::default()
            },
        ),
        (
            widget::ActiveModel {
                note: Set(Some(format!("{long}red"))),
                ..Default::default()
            },
            widget::ActiveModel {
                note: Set(Some(format!("{long}blue"))),
                ..Default::default()
            },
        ),
        (
            widget::ActiveModel {
                note: Set(None),
                ..Default::default()
            },
            widget::ActiveModel {
                note: Set(Some("nothing".to_owned())),
                ..Default::default()
            },
        ),
        (
            widget::ActiveModel {
                picture: Set(Some(vec![1, 2])),
                ..Default::default()
            },
            widget::ActiveModel {
                picture: Set(Some(vec![2, 1])),
                ..Default::default()
            },
        ),
        (
            widget::ActiveModel {
                note: Set(Some(flags.clone())),
                ..Default::default()
            },
            widget::ActiveModel {
                note: Set(Some(format!("{flags}!"))),
                ..Default::default()
            },
        ),
    ];
    let tx = fixture.begin().await;
    for (n, (first, then)) in pairs.into_iter().enumerate() {
        let first = widget::ActiveModel {
            name: Set(format!("w{n}")),
            ..first
        };
        let widget = create_model_with_event(&tx, first, Track::All).await.unwrap();
        update_model_with_event(&tx, &widget, then, Track::All).await.unwrap();
    }
    tx.commit().await.unwrap();
    let sentences = Sentences::default().with::<widget::Model>();
    let texts: Vec<_> = fixture
        .team
        .events()
        .await
        .iter()
        .filter(|event| event.event_type == EventType::Updated)
        .map(|event| sentences.render(event).to_string())
        .collect();
    assert_eq!(
        texts,
        [
            r#"Ada changed tags of widget “w0” from ["a, b"] to ["a","b"]"#.to_owned(),
            "Ada changed due at of widget “w1” from 2026-11-20 02:30:00 UTC to 2026-11-20 02:30:00.250 UTC".to_owned(),
            "Ada changed extra of widget “w2” from nothing to JSON null".to_owned(),
            "Ada changed note of widget “w3” from …word word red to …word word blue".to_owned(),
            r#"Ada changed note of widget “w4” from null to "nothing""#.to_owned(),
            r#"Ada changed picture of widget “w5” from "AQI=" to "AgE=""#.to_owned(),
            format!("Ada changed note of widget “w6” from …{0} to …{0}!", "🇫🇷🇩🇪".repeat(5)),
        ]
    );
}

/// A model's own sentence stands between the usual actor and the usual reason; other models keep the default sentence.
#[tokio::test]
async fn a_model_may_have_its_own_sentences() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let tx = fixture.begin().await;
    let spring = campaign::ActiveModel {
        name: Set("Spring".into()),
        ..Default::default()
    };
    let spring = create_model_with_event(&tx, spring, Track::All).await.unwrap();
    let state = campaign::Column::State;
    let spring = transition_model_with_event(&tx, &spring, state, "active", None)
        .await
        .unwrap();
    transition_model_with_event(&tx, &spring, state, "approved", Some("looks good"))
        .await
        .unwrap();
    transition_model_with_event(&tx, &widget, widget::Column::State, "approved", None)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let sentences = Sentences::default().with::<campaign::Model>();
    let texts: Vec<_> = fixture
        .team
        .events()
        .await
        .iter()
        .map(|event| sentences.render(event).to_string())
        .collect();
    assert_eq!(
        texts[2..],
        [
            "Ada moved campaign “Spring” from draft to active",
            "Ada approved campaign “Spring”: looks good",
            "Ada moved widget “w” from draft to approved",
        ]
    );
}

#[tokio::test]
async fn a_sentence_names_both_people_and_the_reason() {
    let fixture = TeamFixture::new().await;
    let grace = fixture.team.member("grace", daybook::tenancy::Role::Member).await;
    let context = Context {
        on_behalf_of: Some(Person {
            id: grace.user_id,
            name: "Grace".into(),
        }),
        reason: Some("she asked".into()),
        ..fixture.ada.context.clone()
    };
    let tx = fixture.database.begin(&context).await.unwrap();
    create_model_with_event(&tx, widget::named("w"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        sentences(&fixture).await,
        ["Ada on behalf of Grace created widget “w”: she asked"]
    );
}

#[tokio::test]
async fn missing_and_long_values_are_readable() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let note = |text: Option<String>| widget::ActiveModel {
        note: Set(text),
        ..Default::default()
    };
    let tx = fixture.begin().await;
    let long = "é".repeat(200);
    let widget = update_model_with_event(&tx, &widget, note(Some(long)), Track::All)
        .await
        .unwrap();
    update_model_with_event(&tx, &widget, note(Some(String::new())), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let cut = format!("{}…", "é".repeat(80));
    assert_eq!(
        sentences(&fixture).await[1..],
        [
            format!("Ada changed note of widget “w” from nothing to {cut}"),
            format!("Ada changed note of widget “w” from {cut} to “”"),
        ]
    );
}

/// Each field has the entity's type and is shown by it; a redacted field is shown as redacted.
#[tokio::test]
async fn changes_are_listed_by_field_and_type() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let tx = fixture.begin().await;
    let changes = widget::ActiveModel {
        price: Set(Decimal::new(4400, 2)),
        due_at: Set(Some("2026-03-01T11:00:00+01:00".parse().unwrap())),
        serial: Set(9_007_199_254_740_993),
        extra: Set(Some(json!({ "a": [1, true] }))),
        note: Set(Some("44.00".into())),
        picture: Set(Some(vec![1, 2, 3])),
        tags: Set(vec!["a".into(), "b".into()]),
        secret: Set(Some("hush".into())),
        ..Default::default()
    };
    update_model_with_event(&tx, &widget, changes, Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let event = fixture.team.events().await.pop().unwrap();

    let seen = |sentences: &Sentences| -> Vec<String> {
        let fields = sentences.changes(&event);
        fields
            .iter()
            .map(|field| {
                let json = serde_json::to_value(field).unwrap();
                let (of, texts) = (json["type"].as_str().unwrap(), [&field.old_text, &field.new_text]);
                match texts.map(Option::as_deref) {
                    [Some(old), Some(new)] => format!("{} ({of}): {old} → {new}", field.label),
                    other => format!("{} ({of}): redacted {} {other:?}", field.label, field.redacted),
                }
            })
            .collect()
    };
    assert_eq!(
        seen(&Sentences::default().with::<widget::Model>()),
        [
            "due at (timestamp): nothing → 2026-03-01 10:00 UTC",
            "extra (json): nothing → {\"a\":[1,true]}",
            "note (text): nothing → 44.00",
            "picture (bytes): nothing → 3 bytes",
            "price (decimal): 9.50 → 44.00",
            "secret (text): redacted true [None, None]",
            "serial (integer): 7 → 9007199254740993",
            "tags (list): fresh → a, b",
        ]
    );
    // Without the model, the type comes from the recorded JSON.
    let unknown = seen(&Sentences::default());
    assert_eq!(unknown[4], "price (text): 9.50 → 44.00");
    assert_eq!(unknown[0], "due at (text): nothing → 2026-03-01T10:00:00.000000Z");
    let whole = Sentences::default().with::<widget::Model>().render(&event).to_string();
    assert!(whole.contains("due at from nothing to 2026-03-01 10:00 UTC"), "{whole}");
    assert!(!whole.contains("hush"), "{whole}");
}

/// Many edits in one sentence, which is the model's own if it has one for an event with all these changes.
#[tokio::test]
async fn several_edits_become_one_sentence() {
    let fixture = TeamFixture::new().await;
    let mut widget = fixture.widget("w").await;
    let tx = fixture.begin().await;
    let edit = |price: i64, note: Option<&str>, secret: Option<&str>| widget::ActiveModel {
        price: Set(Decimal::from(price)),
        note: Set(note.map(str::to_owned)),
        secret: Set(secret.map(str::to_owned)),
        ..Default::default()
    };
    for change in [edit(1, Some("a"), None), edit(2, None, Some("x")), edit(3, None, None)] {
        widget = update_model_with_event(&tx, &widget, change, Track::All).await.unwrap();
    }
    tx.commit().await.unwrap();
    let events = fixture.team.events().await;
    let edits: Vec<_> = events[1..].iter().collect();
    let sentences = Sentences::default().with::<widget::Model>();
    let (net, sentence) = sentences.render_net(&edits);
    assert_eq!(
        sentence.to_string(),
        "Ada changed widget “w”: note (changed back to nothing), price from 9.50 to 3, secret"
    );
    let came_back: Vec<_> = net
        .iter()
        .map(|net| (net.change.field.as_str(), net.came_back))
        .collect();
    // Nobody knows whether a redacted field has its first value again, so it never counts as changed back.
    assert_eq!(came_back, [("note", true), ("price", false), ("secret", false)]);
    let (_, two) = sentences.render_net(&edits[1..2]);
    assert_eq!(two, sentences.render(edits[1]), "one event keeps its own sentence");
}
