//! Members and API keys over HTTP, and `/v1/me`.

use axum::http::{Method, StatusCode};
use daybook::auth::NewToken;
use daybook::tenancy::Role;
use daybook_tests::http::{Client, ISSUER, TestApp, token};
use serde_json::{Value, json};

fn person(name: &str, role: &str) -> Value {
    json!({"subject": name, "display_name": name.to_uppercase(), "handle": name, "role": role})
}

fn path(client: &Client) -> String {
    format!("/members/{}", client.id())
}

#[tokio::test]
async fn people_are_added_listed_changed_and_removed() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let answer = ada
        .post(
            "/members",
            json!({"subject": "mia", "display_name": "Mia", "handle": "mia", "role": "member", "email": "mia@example.com"}),
        )
        .await
        .is(StatusCode::CREATED);
    let invitation = answer.json();
    assert_eq!(
        answer.header("location").unwrap(),
        format!(
            "/v1/teams/{}/invitations/{}",
            app.team.id,
            invitation["id"].as_str().unwrap()
        )
    );
    let she = app.bearer(token(&NewToken::new("mia")));
    she.accept_invitation().await.ok();
    let me = she.request(Method::GET, "/v1/me").await.ok();
    let path = format!("/members/{}", me["user"]["id"].as_str().unwrap());
    let answer = ada.get(&path).await;
    let mia = answer.json();
    assert_eq!(
        (&mia["issuer"], &mia["email"], &mia["display_name"]),
        (&json!(ISSUER), &json!("mia@example.com"), &json!("Mia"))
    );
    let handles = |page: &Value| {
        let items = page["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| item["handle"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = ada.get("/members?limit=1").await.ok();
    let rest = ada
        .get(&format!("/members?cursor={}", first["next"].as_str().unwrap()))
        .await
        .ok();
    assert_eq!(
        (handles(&first), handles(&rest)),
        (vec!["ada".to_owned()], vec!["mia".to_owned()])
    );

    she.create_campaign("Spring", "1").await;
    let changed = ada
        .patch(&path, json!({"role": "viewer", "handle": "mia.b"}))
        .if_match(&answer.etag())
        .await;
    assert_ne!(changed.etag(), answer.etag());
    assert_eq!(changed.ok()["handle"], "mia.b");
    let stale = ada
        .patch(&path, json!({"role": "admin"}))
        .if_match(&answer.etag())
        .await;
    stale.problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
    let blind = ada
        .patch(&path, json!({"role": "admin"}))
        .without_header("if-match")
        .await;
    blind.problem(StatusCode::PRECONDITION_REQUIRED, "precondition-required");
    she.post("/campaigns", json!({"name": "x", "budget": "1"}))
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");

    ada.delete(&path).await.is(StatusCode::OK);
    ada.get(&path).await.problem(StatusCode::NOT_FOUND, "not-found");
    ada.delete(&path).await.problem(StatusCode::NOT_FOUND, "not-found");
    she.get("/members").await.problem(StatusCode::NOT_FOUND, "not-found");
    let by_her = app
        .team
        .events()
        .await
        .iter()
        .filter(|event| event.actor.name() == "Mia")
        .count();
    assert_eq!(by_her, 2, "her two events stay: she joined, and made a campaign");
    assert!(ada.put("/notifications/read").await.status.is_success());
}

#[tokio::test]
async fn a_members_version_changes_with_the_role_and_with_the_handle() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let mia = path(&app.member("mia", Role::Member).await);
    let first = ada.get(&mia).await.etag();
    let same = ada.patch(&mia, json!({"role": "member", "handle": "mia"})).await;
    assert_eq!(same.etag(), first);
    assert!(app.team.events().await.is_empty(), "nothing has changed");
    let mut stale = first;
    for change in [json!({"role": "viewer"}), json!({"handle": "mia.b"})] {
        let changed = ada.patch(&mia, change).if_match(&stale).await.is(StatusCode::OK);
        for request in [ada.patch(&mia, json!({"role": "admin"})), ada.delete(&mia)] {
            let refused = request.if_match(&stale).await;
            refused.problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
        }
        stale = changed.etag();
    }
    assert_eq!(app.team.events().await.len(), 2);
}

#[tokio::test]
async fn invalid_members_are_refused_by_field_or_by_code() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let with = |name: &str, value: Value| {
        let mut body = person("mia", "member");
        body[name] = value;
        ada.post("/members", body)
    };
    for (field, value) in [
        ("subject", json!("")),
        ("display_name", json!(" ")),
        ("display_name", json!("two\nlines")),
        ("handle", json!("Mia")),
        ("handle", json!("-mia")),
        ("handle", json!("m".repeat(33))),
        ("email", json!("nobody")),
        ("role", json!("king")),
        ("rank", json!(1)),
        ("issuer", json!("x".repeat(256))),
    ] {
        assert_eq!(with(field, value.clone()).await.wrong_fields(), [field], "{value}");
    }
    with("handle", json!("ada"))
        .await
        .problem(StatusCode::CONFLICT, "handle-taken");
    with("subject", json!("ada"))
        .await
        .problem(StatusCode::CONFLICT, "already-member");
    let mia = app.member("mia", Role::Member).await;
    ada.invite("noor", "member").await.is(StatusCode::CREATED);
    for handle in ["ada", "noor"] {
        let taken = ada.patch(&path(&mia), json!({"handle": handle})).await;
        taken.problem(StatusCode::CONFLICT, "handle-taken");
    }
    assert_eq!(
        ada.patch(&path(&mia), json!({"handle": "Ä"})).await.wrong_fields(),
        ["handle"]
    );
    // Two people may have the same handle in two teams.
    let beta = app.db.team("Beta").await;
    let bob = app.member_of(&beta, "bob", Role::Owner).await;
    bob.post(
        "/members",
        json!({"subject": "x", "display_name": "X", "handle": "ada", "role": "member"}),
    )
    .await
    .is(StatusCode::CREATED);
}

#[tokio::test]
async fn only_owners_make_and_change_owners() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Admin).await;
    let linus = app.member("linus", Role::Member).await;
    for request in [
        grace.post("/members", person("olga", "owner")),
        grace.patch(&path(&linus), json!({"role": "owner"})),
        grace.patch(&path(&grace), json!({"role": "owner"})),
        grace.patch(&path(&ada), json!({"handle": "former"})),
        grace.delete(&path(&ada)),
        linus.post("/members", person("olga", "viewer")),
        linus.patch(&path(&linus), json!({"role": "admin"})),
        linus.delete(&path(&grace)),
        linus.get("/api-keys"),
        linus.post("/api-keys", json!({"name": "k", "role": "viewer"})),
    ] {
        request.await.problem(StatusCode::FORBIDDEN, "forbidden");
    }
    grace
        .post("/members", person("olga", "admin"))
        .await
        .is(StatusCode::CREATED);
    grace.delete(&path(&linus)).await.is(StatusCode::OK);
    ada.patch(&path(&grace), json!({"role": "owner"})).await.ok();
    grace.patch(&path(&ada), json!({"role": "member"})).await.ok();
    ada.get("/api-keys").await.problem(StatusCode::FORBIDDEN, "forbidden");
}

#[tokio::test]
async fn a_team_keeps_an_owner_even_if_all_owners_leave_at_once() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let viewer = app.member("vera", Role::Viewer).await;
    ada.delete(&path(&ada))
        .await
        .problem(StatusCode::CONFLICT, "last-owner");
    let step_down = ada.patch(&path(&ada), json!({"role": "admin"})).await;
    step_down.problem(StatusCode::CONFLICT, "last-owner");
    viewer.delete(&path(&viewer)).await.is(StatusCode::OK);
    viewer.get("/members").await.problem(StatusCode::NOT_FOUND, "not-found");

    let mut owners = vec![ada];
    for n in 0..3 {
        owners.push(app.member(&format!("o{n}"), Role::Owner).await);
    }
    let leaving: Vec<_> = owners
        .into_iter()
        .map(|owner| tokio::spawn(async move { owner.delete(&path(&owner)).await.status }))
        .collect();
    let mut left = 0;
    for one in leaving {
        match one.await.unwrap() {
            StatusCode::OK => left += 1,
            status => assert_eq!(status, StatusCode::CONFLICT),
        }
    }
    assert_eq!(left, 3);
    let mut inside = app.team.connection().await;
    let roles: Vec<String> = sqlx::query_scalar("SELECT role FROM memberships")
        .fetch_all(&mut inside)
        .await
        .unwrap();
    assert_eq!(roles, ["owner"]);
}

#[tokio::test]
async fn a_leaving_member_loses_their_inbox_and_their_comments_stay() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    grace.put("/watches/campaign").await.ok();
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    grace.comment(&thread, "goodbye").await;
    ada.comment(&thread, "goodbye, @grace").await;
    grace.delete(&path(&grace)).await.is(StatusCode::OK);

    let mut inside = app.team.connection().await;
    for table in ["watches", "notifications", "thread_followers"] {
        let sql = format!("SELECT count(*) FROM {table} WHERE user_id = $1");
        let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(grace.id())
            .fetch_one(&mut inside)
            .await
            .unwrap();
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(
        ada.thread_texts(&thread).await,
        [
            "Ada created campaign “Spring”",
            "Grace: goodbye",
            "Ada: goodbye, @grace"
        ]
    );
    ada.comment(&thread, "still there, @grace?").await;
    // She joins again, without anything from before.
    ada.post("/members", person("grace", "member"))
        .await
        .is(StatusCode::CREATED);
    grace.accept_invitation().await.ok();
    assert!(grace.unread().await.is_empty());
    assert_eq!(
        ada.get(&path(&grace)).await.ok()["display_name"],
        "GRACE",
        "the team's name for a person belongs to the membership"
    );
}

#[tokio::test]
async fn keys_are_listed_and_revoked() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (key, id) = ada.make_key("robot", "member").await;
    let (_, newer) = ada.make_key("another", "viewer").await;
    let page = ada.get("/api-keys?limit=1").await.ok();
    assert_eq!(page["items"][0]["id"], json!(newer), "newest first");
    let rest = ada
        .get(&format!("/api-keys?cursor={}", page["next"].as_str().unwrap()))
        .await
        .ok();
    assert_eq!(rest["items"][0]["created_by"], json!(ada.id()));

    key.get("/campaigns").await.ok();
    ada.delete(&format!("/api-keys/{id}")).await.is(StatusCode::NO_CONTENT);
    key.get("/campaigns")
        .await
        .problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    let revoked = ada.get("/api-keys").await.ok()["items"][1]["revoked_at"].clone();
    assert!(revoked.is_string(), "it stays in the list, because events name it");
    ada.delete(&format!("/api-keys/{id}")).await.is(StatusCode::NO_CONTENT);
    assert_eq!(ada.get("/api-keys").await.ok()["items"][1]["revoked_at"], revoked);

    let new = |body: Value| ada.post("/api-keys", body);
    for (body, field) in [
        (json!({"name": "", "role": "viewer"}), "name"),
        (json!({"name": "k", "role": "owner"}), "role"),
        (
            json!({"name": "k", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}),
            "expires_at",
        ),
        (json!({"name": "k", "role": "viewer", "scopes": []}), "scopes"),
    ] {
        assert_eq!(new(body.clone()).await.wrong_fields(), [field], "{body}");
    }
}

#[tokio::test]
async fn me_returns_the_person_and_their_teams() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let beta = app.db.team("Beta").await;
    app.member_of(&beta, "ada", Role::Viewer).await;
    app.member_of(&app.db.team("Secret").await, "bob", Role::Owner).await;
    let me = ada.request(Method::GET, "/v1/me").await.ok();
    assert_eq!((&me["issuer"], &me["subject"]), (&json!(ISSUER), &json!("ada")));
    assert_eq!(me["user"]["id"], json!(ada.id()));
    assert_eq!(
        me["teams"],
        json!([
            {"id": app.team.id, "name": "Acme", "role": "owner", "handle": "ada"},
            {"id": beta.id, "name": "Beta", "role": "viewer", "handle": "ada"},
        ])
    );
    let stranger = app
        .bearer(token(&NewToken::new("stranger")))
        .request(Method::GET, "/v1/me")
        .await
        .ok();
    assert_eq!((&stranger["user"], &stranger["teams"]), (&Value::Null, &json!([])));
    app.anonymous()
        .request(Method::GET, "/v1/me")
        .await
        .problem(StatusCode::UNAUTHORIZED, "unauthenticated");
}
