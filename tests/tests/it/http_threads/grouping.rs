//! Consecutive edits are shown as one item; clients that read pages or single messages can rebuild the same groups.

use chrono::{DateTime, TimeDelta, Utc};
use daybook::campaigns::campaign;
use daybook::events::{Track, update_model_with_event};
use daybook::tenancy::{Context, Role};
use daybook_tests::http::{Client, TestApp, impersonation};
use sea_orm::{EntityTrait, Set};
use serde_json::{Value, json};
use uuid::Uuid;

/// Returns a thread's texts with groups; a group's text has its positions.
async fn lines(reader: &Client, thread: &str) -> Vec<String> {
    let page = reader
        .get(&format!("{thread}/messages?group=true&limit=200"))
        .await
        .ok();
    page["items"].as_array().unwrap().iter().map(line).collect()
}

fn line(item: &Value) -> String {
    match item["kind"].as_str().unwrap() {
        "group" => format!(
            "{}–{} {}",
            item["first_seq"],
            item["last_seq"],
            item["text"].as_str().unwrap()
        ),
        "system" => item["event"]["text"].as_str().unwrap().to_owned(),
        _ => item["body"].as_str().unwrap().to_owned(),
    }
}

async fn edit(editor: &Client, path: &str, changes: Value) {
    editor.patch(path, changes).await.ok();
}

#[tokio::test]
async fn consecutive_edits_form_a_group_that_lists_its_messages() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    for budget in ["150", "200", "250"] {
        edit(&ada, &spring.path, json!({"budget": budget})).await;
    }
    edit(
        &ada,
        &spring.path,
        json!({"name": "Summer", "client_email": "c@example.com"}),
    )
    .await;
    edit(&grace, &spring.path, json!({"budget": "300"})).await;
    edit(&grace, &spring.path, json!({"budget": "250.00"})).await;
    grace.comment(&thread, "sorry").await;
    edit(&grace, &spring.path, json!({"name": "Autumn"})).await;
    edit(&grace, &spring.path, json!({"name": "Summer", "budget": "1"})).await;
    assert_eq!(
        lines(&grace, &thread).await,
        [
            "Ada created campaign “Spring”",
            "2–5 Ada changed campaign “Summer”: budget from 100 to 250, client email, name from Spring to Summer",
            "6–7 Grace changed budget of campaign “Summer” (changed back to 250.00)",
            "sorry",
            "9–10 Grace changed campaign “Summer”: budget from 250.00 to 1, name (changed back to Summer)",
        ]
    );
    let plain = ada.get(&format!("{thread}/messages")).await.ok();
    let folded = ada.get(&format!("{thread}/messages?group=true")).await.ok();
    let group = &folded["items"][1];
    let parts = plain["items"].as_array().unwrap()[1..5].to_vec();
    assert_eq!(group["items"], json!(parts), "its items are the messages themselves");
    assert_eq!(
        (&group["seq"], &group["cut_before"], &group["cut_after"]),
        (&json!(5), &json!(false), &json!(false))
    );
    assert_eq!(group["actor"], json!({"kind": "user", "id": ada.id(), "name": "Ada"}));
    assert_eq!(group["object"], json!({"type": "campaign", "id": spring.id}));
    assert_eq!(
        group["changes"],
        json!([
            {"field": "budget", "label": "budget", "type": "decimal", "redacted": false, "came_back": false,
             "truncated": false,
             "old": "100", "new": "250", "old_text": "100", "new_text": "250"},
            {"field": "client_email", "label": "client email", "type": "text", "redacted": true, "came_back": false,
             "truncated": false,
             "old": null, "new": null, "old_text": null, "new_text": null},
            {"field": "name", "label": "name", "type": "text", "redacted": false, "came_back": false,
             "truncated": false,
             "old": "Spring", "new": "Summer", "old_text": "Spring", "new_text": "Summer"},
        ])
    );
    assert_eq!(folded["items"][2]["changes"][0]["came_back"], true, "250 is 250.00");
    // In descending order, a group's position is where the page before it ends.
    let back = ada.get(&format!("{thread}/messages?group=true&order=desc")).await.ok();
    assert_eq!(
        (&back["items"][3]["seq"], &back["items"][3]["items"]),
        (&json!(2), &group["items"])
    );
    assert_eq!(plain["items"][1]["event"]["changes"][0]["type"], "decimal");
    assert_eq!(
        plain["items"][0]["event"]["changes"],
        json!([]),
        "a creation changes nothing"
    );
}

#[tokio::test]
async fn a_group_ends_with_another_actor_kind_or_time() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    app.member("linus", Role::Member).await;
    let as_linus = app.bearer(impersonation("ada", "linus"));
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let budget = |n: i64| json!({"budget": n.to_string()});
    edit(&ada, &spring.path, budget(2)).await;
    edit(&as_linus, &spring.path, budget(3)).await;
    edit(&as_linus, &spring.path, budget(4)).await;
    edit(&ada, &spring.path, budget(5)).await;
    let state = json!({"state": "active"});
    ada.post(&format!("{}/transition", spring.path), state)
        .if_match("*")
        .await
        .ok();
    edit(&ada, &spring.path, budget(7)).await;
    edit(&ada, &spring.path, budget(8)).await;
    edit(&ada, &spring.path, budget(9)).await;
    let shown = lines(&ada, &thread).await;
    assert_eq!(
        shown,
        [
            "Ada created campaign “Spring”",
            "Ada changed budget of campaign “Spring” from 100 to 2",
            "3–4 Ada on behalf of Linus changed budget of campaign “Spring” from 2 to 4",
            "Ada changed budget of campaign “Spring” from 4 to 5",
            "Ada moved campaign “Spring” from draft to active",
            "7–9 Ada changed budget of campaign “Spring” from 5 to 9",
        ]
    );
    // Time: at most five minutes may lie between two neighbours.
    // The owner does this: the run-time role may not change when a message was written.
    let mut inside = app.db.owner().await;
    sqlx::query("SELECT set_config('daybook.team_id', $1, false)")
        .bind(app.team.id.to_string())
        .execute(&mut inside)
        .await
        .unwrap();
    for (seq, later_s, expected) in [(9, 300, vec!["7–9"]), (9, 301, vec!["7–8"]), (8, 301, vec!["8–9"])] {
        sqlx::query(
            "UPDATE thread_messages SET created_at = (SELECT created_at FROM thread_messages WHERE seq = $1 - 1)
                 + make_interval(secs => $2) WHERE seq = $1",
        )
        .bind(seq)
        .bind(f64::from(later_s))
        .execute(&mut inside)
        .await
        .unwrap();
        let last: Vec<_> = lines(&ada, &thread).await.into_iter().skip(5).collect();
        let groups: Vec<_> = last
            .iter()
            .filter_map(|line| line.split_once(" Ada").map(|(at, _)| at))
            .collect();
        assert_eq!(groups, expected, "{last:?}");
    }
}

#[tokio::test]
async fn edits_for_different_reasons_are_not_grouped() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    for (budget, reason) in [(1, None), (2, Some("a")), (3, Some("a")), (4, Some("b"))] {
        let context = Context {
            reason: reason.map(str::to_owned),
            ..app.team.system()
        };
        let tx = app.database.begin(&context).await.unwrap();
        let id: Uuid = spring.id.parse().unwrap();
        let model = campaign::Entity::find_by_id(id).one(&tx).await.unwrap().unwrap();
        let change = campaign::ActiveModel {
            budget: Set(budget.into()),
            ..Default::default()
        };
        update_model_with_event(&tx, &model, change, Track::All).await.unwrap();
        tx.commit().await.unwrap();
    }
    let page = ada.get(&format!("{thread}/messages?group=true")).await.ok();
    let places = |item: &Value| {
        let last = item["seq"].as_i64().unwrap();
        (item["first_seq"].as_i64().unwrap_or(last), last)
    };
    let places: Vec<_> = page["items"].as_array().unwrap().iter().map(places).collect();
    assert_eq!(places, [(1, 1), (2, 2), (3, 4), (5, 5)]);
}

/// Joins groups as a reader of pages does: the group that one page ends with and the next page begins with is one
/// group.
fn join_pages(pages: &[Value]) -> Vec<Value> {
    let mut whole: Vec<Value> = Vec::new();
    for item in pages.iter().flat_map(|page| page["items"].as_array().unwrap()) {
        match whole.last_mut() {
            Some(last) if last["cut_after"] == true && item["cut_before"] == true => join(last, item),
            _ => whole.push(item.clone()),
        }
    }
    whole
}

fn join(group: &mut Value, next: &Value) {
    for field in ["seq", "last_seq", "cut_after", "updated_at", "text", "sentence"] {
        group[field] = next[field].clone();
    }
    let parts = group["items"].as_array_mut().unwrap();
    parts.extend(next["items"].as_array().unwrap().iter().cloned());
    let changes = group["changes"].as_array_mut().unwrap();
    for change in next["changes"].as_array().unwrap() {
        let sum = changes.iter_mut().find(|sum| sum["field"] == change["field"]);
        let Some(sum) = sum else {
            changes.push(change.clone());
            continue;
        };
        for field in ["new", "new_text"] {
            sum[field] = change[field].clone();
        }
        sum["came_back"] = json!(sum["redacted"] == false && sum["old"] == sum["new"]);
    }
    changes.sort_by_key(|change| change["field"].as_str().unwrap().to_owned());
}

/// Returns items without their texts, which a client that joins groups has to write again.
fn without_words(items: &[Value]) -> Vec<Value> {
    let mut items = items.to_vec();
    for item in items.iter_mut().filter(|item| item["kind"] == "group") {
        item.as_object_mut()
            .unwrap()
            .retain(|field, _| field != "text" && field != "sentence");
    }
    items
}

/// Joins neighbours as a client that receives single messages does, by the documented rule.
fn joins(one: &Value, next: &Value) -> bool {
    let (a, b) = (&one["event"], &next["event"]);
    let is_edit = |event: &Value| {
        event["event_type"] == "UPDATED" && event["changes"].as_array().is_some_and(|changes| !changes.is_empty())
    };
    let at = |message: &Value| -> DateTime<Utc> { message["created_at"].as_str().unwrap().parse().unwrap() };
    is_edit(a)
        && is_edit(b)
        && ["actor", "on_behalf_of", "reason"]
            .iter()
            .all(|field| a[field] == b[field])
        && (at(next) - at(one)).abs() <= TimeDelta::minutes(5)
}

#[tokio::test]
async fn groups_of_pages_of_any_length_join_to_the_same_groups() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    // Series of 1 to 6 edits, by two people, with comments between some.
    for (run, length) in [3, 1, 5, 2, 2, 6, 1, 4].into_iter().enumerate() {
        let editor = if run % 2 == 0 { &ada } else { &grace };
        for n in 0..length {
            let changes = match n % 3 {
                0 => json!({"budget": format!("{run}.{n}")}),
                1 => json!({"name": format!("N{}", n % 2), "client_email": format!("{run}{n}@example.com")}),
                _ => json!({"budget": "7", "name": format!("N{run}")}),
            };
            edit(editor, &spring.path, changes).await;
        }
        if run % 3 == 0 {
            editor.comment(&thread, "so").await;
        }
    }
    let page = async |query: String| ada.get(&format!("{thread}/messages?{query}")).await.ok();
    let whole = page("group=true&limit=200".to_owned()).await;
    let (whole, last_seq) = (
        whole["items"].as_array().unwrap().clone(),
        whole["last_seq"].as_i64().unwrap(),
    );
    assert!(
        whole.iter().filter(|item| item["kind"] == "group").count() >= 5,
        "{whole:?}"
    );

    let single = page("limit=200".to_owned()).await;
    let mut runs: Vec<Vec<&Value>> = Vec::new();
    for message in single["items"].as_array().unwrap() {
        match runs.last_mut() {
            Some(run) if joins(run.last().unwrap(), message) => run.push(message),
            _ => runs.push(vec![message]),
        }
    }
    let found: Vec<_> = runs
        .iter()
        .map(|run| (run[0]["seq"].clone(), run[run.len() - 1]["seq"].clone()))
        .collect();
    let shown: Vec<_> = whole
        .iter()
        .map(|item| match item["kind"].as_str() {
            Some("group") => (item["first_seq"].clone(), item["last_seq"].clone()),
            _ => (item["seq"].clone(), item["seq"].clone()),
        })
        .collect();
    assert_eq!(found, shown, "single messages fold to the same");

    for limit in 1..=last_seq {
        let (mut forward, mut after) = (Vec::new(), 0);
        while after < last_seq {
            let next = page(format!("group=true&limit={limit}&after_seq={after}")).await;
            let items = next["items"].as_array().unwrap();
            let messages: usize = items
                .iter()
                .map(|item| item["items"].as_array().map_or(1, Vec::len))
                .sum();
            assert!(messages <= usize::try_from(limit).unwrap(), "the limit counts messages");
            after = items.last().unwrap()["seq"].as_i64().unwrap();
            assert_eq!(next["more"].as_bool().unwrap(), after < last_seq);
            forward.push(next);
        }
        assert_eq!(
            without_words(&join_pages(&forward)),
            without_words(&whole),
            "forward by {limit}"
        );

        let (mut backward, mut before) = (Vec::new(), i64::MAX);
        while before > 1 {
            let mut next = page(format!("group=true&limit={limit}&order=desc&before_seq={before}")).await;
            let items = next["items"].as_array_mut().unwrap();
            before = items.last().unwrap()["seq"].as_i64().unwrap();
            items.reverse();
            for group in items.iter_mut().filter(|item| item["kind"] == "group") {
                assert_eq!(group["seq"], group["first_seq"]);
                group["seq"] = group["last_seq"].clone();
            }
            backward.push(next);
        }
        backward.reverse();
        assert_eq!(
            without_words(&join_pages(&backward)),
            without_words(&whole),
            "backward by {limit}"
        );
    }
}
