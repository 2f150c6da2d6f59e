//! Pages, positions, and the cost of reading and writing many messages.

use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use daybook::campaigns::campaign;
use daybook::events::{Track, create_models_with_events};
use daybook::tenancy::Role;
use daybook_tests::http::{Client, TestApp};
use sea_orm::Set;
use serde_json::{Value, json};

fn seqs(page: &Value) -> Vec<i64> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["seq"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn pages_of_a_long_thread_have_no_gaps_or_repetitions() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    for n in 2..=120 {
        ada.comment(&thread, &format!("comment {n}")).await;
    }
    let all: Vec<i64> = (1..=120).collect();
    for limit in [1_i64, 7, 40, 50, 120, 200] {
        let (mut forward, mut after) = (Vec::new(), 0);
        loop {
            let page = ada
                .get(&format!("{thread}/messages?limit={limit}&after_seq={after}"))
                .await
                .ok();
            assert_eq!(page["last_seq"], 120);
            forward.extend(seqs(&page));
            after = *forward.last().unwrap();
            assert_eq!(page["more"].as_bool().unwrap(), after < 120);
            if after == 120 {
                break;
            }
        }
        assert_eq!(forward, all, "forward by {limit}");

        let (mut backward, mut before) = (Vec::new(), i64::MAX);
        loop {
            let query = format!("{thread}/messages?limit={limit}&order=desc&before_seq={before}");
            let page = ada.get(&query).await.ok();
            backward.extend(seqs(&page));
            before = *backward.last().unwrap();
            assert_eq!(page["more"].as_bool().unwrap(), before > 1);
            if before == 1 {
                break;
            }
        }
        backward.reverse();
        assert_eq!(backward, all, "backward by {limit}");
    }
    let between = ada
        .get(&format!("{thread}/messages?after_seq=10&before_seq=15"))
        .await
        .ok();
    assert_eq!(
        (seqs(&between), &between["more"]),
        (vec![11, 12, 13, 14], &json!(false))
    );
    let newest = ada
        .get(&format!("{thread}/messages?order=desc&limit=2&after_seq=118"))
        .await
        .ok();
    assert_eq!((seqs(&newest), &newest["more"]), (vec![120, 119], &json!(false)));
    for empty in [
        "after_seq=120",
        "after_seq=9223372036854775807",
        "before_seq=1",
        "after_seq=20&before_seq=20",
    ] {
        let page = ada.get(&format!("{thread}/messages?{empty}")).await.ok();
        let nothing = json!({"items": [], "last_seq": 120, "more": false, "read_seq": 120, "new_count": 0});
        assert_eq!(page, nothing, "{empty}");
        assert_eq!(
            ada.get(&format!("{thread}/messages?{empty}&group=true")).await.ok(),
            nothing
        );
    }
    for (wrong, field) in [
        ("limit=0", "limit"),
        ("after_seq=-1", "after_seq"),
        ("before_seq=0", "before_seq"),
        ("order=up", "order"),
        ("since=yesterday", "since"),
        ("since=2026-03-01T10:00:00+01:00", "since"),
        ("group=1", "group"),
    ] {
        assert_eq!(
            ada.get(&format!("{thread}/messages?{wrong}")).await.wrong_fields(),
            [field]
        );
    }
}

#[tokio::test]
async fn concurrent_comments_get_positions_in_commit_order() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let mut people: Vec<Client> = Vec::new();
    for n in 0..8 {
        people.push(app.member(&format!("p{n}"), Role::Member).await);
    }
    let writers: Vec<_> = people
        .into_iter()
        .map(|person| {
            let thread = thread.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for n in 0..10 {
                    taken.push(person.comment(&thread, &format!("{n}")).await["seq"].as_i64().unwrap());
                }
                taken
            })
        })
        .collect();

    // A reader that follows the thread: if a higher position were committed before a lower one, it would see a gap.
    let mut read = Vec::new();
    while read.len() < 81 {
        let after = read.last().copied().unwrap_or(0);
        let page = ada.get(&format!("{thread}/messages?after_seq={after}")).await.ok();
        for seq in seqs(&page) {
            assert_eq!(
                seq,
                read.last().copied().unwrap_or(0) + 1,
                "a gap in the committed messages"
            );
            read.push(seq);
        }
    }
    let mut taken = vec![1];
    for writer in writers {
        let own = writer.await.unwrap();
        assert!(
            own.is_sorted(),
            "a person's comments are in the order in which they were written"
        );
        taken.extend(own);
    }
    taken.sort_unstable();
    assert_eq!(taken, (1..=81).collect::<Vec<i64>>());
    assert_eq!(ada.unread().await.len(), 1);
    assert!(
        ada.unread().await[0].starts_with("80 × "),
        "each message was shown exactly once"
    );
}

#[tokio::test]
async fn reading_costs_three_round_trips_for_any_length() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (campaign, thread) = ada.campaign_with_thread("Spring").await;
    for n in 0..30 {
        grace.comment(&thread, &format!("{n} for @ada")).await;
    }
    let messages = format!("{thread}/messages");
    for path in [
        &messages,
        &format!("{messages}?group=true&since=2026-01-01T00:00:00Z&order=desc"),
        "/notifications",
        "/notification-preferences",
        "/threads?new=true",
        "/threads",
        "/campaigns",
        "/members",
        "/watches",
        &thread,
        &campaign.path,
    ] {
        let (cost, answer) = app.round_trips(async { ada.get(path).await }).await;
        assert_eq!(cost, 3, "enter, one query, COMMIT: {answer:?}");
        answer.ok();
    }
}

#[tokio::test]
async fn five_hundred_changes_cost_as_many_round_trips_as_five() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    grace.put("/watches/campaign").await.ok();
    let tx = app.database.begin(&app.team.system()).await.unwrap();
    let new = (0..505).map(|n| campaign::ActiveModel {
        name: Set(format!("c{n}")),
        ..Default::default()
    });
    let made = create_models_with_events(&tx, new.collect(), Track::All).await.unwrap();
    tx.commit().await.unwrap();
    let ids: Vec<_> = made.iter().map(|campaign| campaign.id).collect();

    let bulk = |ids: &[uuid::Uuid]| ada.patch("/campaigns", json!({"ids": ids, "changes": {"budget": "7"}}));
    let (few, answer) = app.round_trips(async { bulk(&ids[..5]).await }).await;
    assert_eq!(answer.ok(), json!({"updated": 5}));
    let (many, answer) = app.round_trips(async { bulk(&ids[5..]).await }).await;
    assert_eq!(answer.ok(), json!({"updated": 500}));
    assert_eq!(few, many);
    assert!(many <= 8, "{many} round trips");

    let inbox = grace.get("/notifications?unread=true&limit=200").await.ok();
    assert_eq!(inbox["unread"], 505);
    let notified = app
        .team
        .events()
        .await
        .iter()
        .filter(|event| event.event_type.to_string() == "UPDATED")
        .count();
    assert_eq!(notified, 505);
}

#[tokio::test]
async fn pages_can_start_at_a_time() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    for n in 2..=40 {
        ada.comment(&thread, &format!("comment {n}")).await;
    }
    let posted: Vec<DateTime<Utc>> = {
        let page = ada.get(&format!("{thread}/messages")).await.ok();
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["created_at"].as_str().unwrap().parse().unwrap())
            .collect()
    };
    assert!(posted.is_sorted(), "the order of times is the order of positions");

    let since = async |at: DateTime<Utc>, more: &str| {
        let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
        ada.get(&format!("{thread}/messages?since={at}{more}")).await.ok()
    };
    for (i, at) in posted.iter().enumerate() {
        let seq = i64::try_from(i).unwrap() + 1;
        let from_here: Vec<_> = (seq..=40).collect();
        assert_eq!(
            seqs(&since(*at, "").await),
            from_here,
            "a message posted at that time is included"
        );
        let just_after = since(*at + TimeDelta::microseconds(1), "").await;
        assert_eq!(seqs(&just_after), from_here[1..]);
    }
    assert_eq!(seqs(&since(posted[0] - TimeDelta::days(1), "").await).len(), 40);
    let later = since(Utc::now() + TimeDelta::days(1), "").await;
    assert_eq!((seqs(&later), &later["more"]), (vec![], &json!(false)));

    let elsewhere = "0001-01-01T00:00:00%2B01:00";
    assert_eq!(
        seqs(&ada.get(&format!("{thread}/messages?since={elsewhere}")).await.ok()).len(),
        40
    );

    // With another limit too: the narrower one applies, and pages continue.
    let page = since(posted[9], "&limit=3").await;
    assert_eq!((seqs(&page), &page["more"]), (vec![10, 11, 12], &json!(true)));
    let page = since(posted[9], "&limit=3&after_seq=38").await;
    assert_eq!((seqs(&page), &page["more"]), (vec![39, 40], &json!(false)));
    let page = since(posted[37], "&limit=2&order=desc").await;
    assert_eq!((seqs(&page), &page["more"]), (vec![40, 39], &json!(true)));
    let page = since(posted[37], "&limit=2&order=desc&before_seq=39").await;
    assert_eq!((seqs(&page), &page["more"]), (vec![38], &json!(false)));
    let nobodys = format!("/threads/{}/messages?since=2026-01-01T00:00:00Z", uuid::Uuid::now_v7());
    ada.get(&nobodys).await.problem(StatusCode::NOT_FOUND, "not-found");
}

#[tokio::test]
async fn a_thread_has_its_objects_label() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, spring_thread) = ada.campaign_with_thread("Spring").await;
    let (summer, summer_thread) = ada.campaign_with_thread("Summer").await;
    ada.patch(&spring.path, json!({"name": "Late spring"})).await.ok();
    assert_eq!(ada.get(&spring_thread).await.ok()["object_label"], "Late spring");
    let both = json!({"ids": [spring.id, summer.id], "changes": {"name": "Autumn"}});
    ada.patch("/campaigns", both).await.ok();
    for thread in [&spring_thread, &summer_thread] {
        assert_eq!(ada.get(thread).await.ok()["object_label"], "Autumn");
    }
}

#[tokio::test]
async fn the_label_of_a_deleted_object_stays() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (campaign, thread) = ada.campaign_with_thread("Spring").await;
    ada.patch(&campaign.path, json!({"name": "Summer"})).await.ok();
    ada.delete(&campaign.path).await.is(StatusCode::NO_CONTENT);
    ada.get(&campaign.path)
        .await
        .problem(StatusCode::NOT_FOUND, "not-found");

    assert_eq!(ada.get(&thread).await.ok()["object_label"], "Summer");
    grace.comment(&thread, "a pity").await;
    assert_eq!(
        ada.unread().await,
        ["1 × Grace commented on campaign “Summer” (follower)"]
    );
    assert_eq!(ada.inbox().await["items"][0]["thread"]["object_label"], "Summer");
    assert_eq!(
        ada.thread_texts(&thread).await,
        [
            "Ada created campaign “Spring”",
            "Ada changed name of campaign “Summer” from Spring to Summer",
            "Ada deleted campaign “Summer”",
            "Grace: a pity",
        ]
    );
    let page = ada.get(&format!("{thread}/messages?limit=3")).await.ok();
    let labels: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["event"]["object_label"])
        .collect();
    assert_eq!(
        labels,
        ["Spring", "Summer", "Summer"],
        "each with its label at that time"
    );
}
