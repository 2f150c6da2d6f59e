//! People's names belong to them, or to the team that chose them; and people can be erased.

use axum::http::{Method, StatusCode};
use daybook::auth::NewToken;
use daybook::tenancy::Role;
use daybook_tests::http::{Client, TestApp, impersonation, token};
use serde_json::{Value, json};

async fn me(client: &Client) -> Value {
    client.request(Method::GET, "/v1/me").await.ok()
}

async fn rename(client: &Client, name: &str) -> Value {
    let body = json!({"display_name": name});
    client.request(Method::PATCH, "/v1/me").json(body).await.ok()
}

#[tokio::test]
async fn a_teams_name_for_a_person_is_not_shown_in_other_teams() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let beta = app.db.team("Beta").await;
    let bob = app.member_of(&beta, "bob", Role::Owner).await;
    // Acme is first, and chooses the name.
    let body = json!({"subject": "mia", "display_name": "Mallory", "handle": "mia", "role": "member",
        "email": "mallory@acme.example"});
    ada.post("/members", body).await.is(StatusCode::CREATED);
    let mia = app.non_member("mia");
    mia.for_team(app.team.id).accept_invitation().await.ok();
    let in_beta = app.invited_member(&bob, "mia", "member").await;
    assert_eq!(bob.members().await, ["bob: Bob", "mia: MIA"]);
    assert!(!bob.get("/members").await.text().contains("acme.example"));
    assert_eq!(ada.members().await, ["ada: Ada", "mia: Mallory"]);
    in_beta.create_campaign("Spring", "1").await;
    assert_eq!(beta.events().await.last().unwrap().actor.name(), "MIA");

    // Her own verified token has another name, which both teams then show.
    let own = |name: &str, email: &str| {
        let token = token(&NewToken::new("mia").name(name).email(email));
        app.bearer(token)
    };
    let known = me(&own("Mia Moon", "mia@moon.example")).await;
    assert_eq!(
        (&known["user"]["display_name"], &known["user"]["email"]),
        (&json!("Mia Moon"), &json!("mia@moon.example"))
    );
    assert_eq!(ada.members().await, ["ada: Ada", "mia: Mia Moon"]);
    assert!(ada.get("/members").await.text().contains("mia@moon.example"));
    in_beta.create_campaign("Summer", "1").await;
    assert_eq!(beta.events().await.last().unwrap().actor.name(), "Mia Moon");

    // The name that she enters herself takes precedence over the one in her later tokens.
    assert_eq!(rename(&mia, "Mia").await["user"]["display_name"], "Mia");
    me(&own("Mia Moon", "mia@new.example")).await;
    assert_eq!(bob.members().await, ["bob: Bob", "mia: Mia"]);
    // Her plain token has no address, and keeps the one that is known.
    rename(&mia, "Mia").await;
    assert!(bob.get("/members").await.text().contains("mia@new.example"));
    in_beta.create_campaign("Autumn", "1").await;
    assert_eq!(beta.events().await.last().unwrap().actor.name(), "Mia");
}

#[tokio::test]
async fn only_the_person_can_set_their_own_name() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let mia = app.member("mia", Role::Member).await;
    let rename_with = |client: &Client, name: Value| {
        client
            .request(Method::PATCH, "/v1/me")
            .json(json!({"display_name": name}))
    };
    for wrong in [json!(""), json!("two\nlines"), json!("x".repeat(201)), json!(7)] {
        assert_eq!(
            rename_with(&mia, wrong.clone()).await.wrong_fields(),
            ["display_name"],
            "{wrong}"
        );
    }
    let acting = app.bearer(impersonation("ada", "mia"));
    rename_with(&acting, json!("Other"))
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");
    acting
        .request(Method::DELETE, "/v1/me")
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");
    let (key, _) = ada.make_key("robot", "admin").await;
    rename_with(&key, json!("Other"))
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");
    // A token with which another person acts does not change the person's name either.
    let named = NewToken::new("mia").name("Other").acting(daybook::auth::ActingPerson {
        issuer: daybook_tests::http::ISSUER.to_owned(),
        subject: "ada".to_owned(),
    });
    me(&app.bearer(token(&named))).await;
    assert_eq!(ada.members().await, ["ada: Ada", "mia: Mia"]);
}

#[tokio::test]
async fn a_person_can_be_erased_and_records_stay() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let beta = app.db.team("Beta").await;
    let bob = app.member_of(&beta, "bob", Role::Owner).await;
    let mia = app.invited_member(&ada, "mia", "admin").await;
    let mia_in_beta = app.invited_member(&bob, "mia", "owner").await;
    rename(&mia, "Mia Moon").await;
    let (_, thread) = mia.campaign_with_thread("Spring").await;
    mia.comment(&thread, "hello").await;
    let (key, _) = mia.make_key("robot", "member").await;
    let gamma = app.db.team("Gamma").await;
    let eve = app.member_of(&gamma, "eve", Role::Owner).await;
    eve.invite("mia", "member").await.is(StatusCode::CREATED);

    // Beta would have no owner left, so nothing changes in any team.
    bob.delete(&format!("/members/{}", bob.id())).await.ok();
    let refused = mia.request(Method::DELETE, "/v1/me").await;
    let problem = refused.problem(StatusCode::CONFLICT, "last-owner");
    assert!(
        problem["detail"].as_str().unwrap().contains(&beta.id.to_string()),
        "{problem}"
    );
    assert_eq!(ada.members().await, ["ada: Ada", "mia: Mia Moon"]);
    let olga = app.member_of(&beta, "olga", Role::Owner).await;

    mia.request(Method::DELETE, "/v1/me").await.is(StatusCode::NO_CONTENT);
    mia.request(Method::DELETE, "/v1/me").await.is(StatusCode::NO_CONTENT);
    let gone = me(&mia).await;
    assert_eq!((&gone["user"], &gone["teams"]), (&Value::Null, &json!([])));
    assert!(mia.invitations().await.is_empty());
    assert_eq!(ada.members().await, ["ada: Ada"]);
    assert_eq!(olga.members().await, ["olga: Olga"]);
    for (client, status) in [(&mia, 404), (&mia_in_beta, 404), (&key, 401)] {
        assert_eq!(client.get("/campaigns").await.status.as_u16(), status);
    }
    // The query names the person exactly, as only a caller that knows them can.
    let mut named = app.db.app_connection().await;
    let set = "SELECT set_config('daybook.issuer', $1, false), set_config('daybook.subject', 'mia', false)";
    sqlx::query(set)
        .bind(daybook_tests::http::ISSUER)
        .execute(&mut named)
        .await
        .unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&mut named)
        .await
        .unwrap();
    assert_eq!(left, 0);
    assert_eq!(
        ada.thread_texts(&thread).await,
        ["Mia Moon created campaign “Spring”", "Mia Moon: hello"],
        "events and comments keep their content"
    );
    let last = app.team.events().await.pop().unwrap();
    assert_eq!(
        (last.actor.name(), last.event_name.as_deref()),
        ("Mia Moon", Some("member.removed"))
    );
    // An erased person who is invited again is a new person.
    let again = app.invited_member(&ada, "mia", "member").await;
    assert_ne!(again.id(), mia.id());
}

/// The list of a person's invitations has at most a hundred, but all of them name the person.
#[tokio::test]
async fn an_erasure_declines_more_invitations_than_the_list_shows() {
    let app = TestApp::start().await;
    for n in 0..101 {
        let team = app.db.team(&n.to_string()).await;
        sqlx::query(
            "INSERT INTO invitations (team_id, id, issuer, subject, role, handle, display_name, invited_by_name)
             VALUES ($1, gen_random_uuid(), $2, 'mia', 'member', 'mia', 'Mia', 'Eve')",
        )
        .bind(team.id)
        .bind(daybook_tests::http::ISSUER)
        .execute(&mut team.connection().await)
        .await
        .unwrap();
    }
    let mia = app.non_member("mia");
    assert_eq!(mia.invitations().await.len(), 100);
    mia.request(Method::DELETE, "/v1/me").await.is(StatusCode::NO_CONTENT);
    assert!(mia.invitations().await.is_empty());
}
