//! API keys end with the member who is responsible for them.

use axum::http::StatusCode;
use daybook::teams::{KeyRole, NewKey, make_key};
use daybook::tenancy::{Actor, Context, Role};
use daybook_tests::http::{Client, TestApp, impersonation};
use daybook_tests::wait_for_blocked_session;
use serde_json::{Value, json};
use sqlx::Executor;

use super::{access_events, path};
use crate::runs::sse::Events;
use crate::runs::{append, console, run};

async fn assert_refused(key: &Client) {
    let answer = key.get("/campaigns").await;
    answer.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
}

fn names(keys: &Value) -> Vec<&str> {
    keys.as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_removed_admin_cannot_return_with_a_key() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Admin).await;
    let (by_bob, _) = bob.make_key("robot", "admin").await;
    // A key that was made by a key, and a key that was made by that one.
    let (by_key, _) = by_bob.make_key("robot's robot", "admin").await;
    let (third, _) = by_key.make_key("third", "viewer").await;
    let (adas, _) = ada.make_key("adas", "admin").await;
    // An invitation of another person whose token Bob also has, and an invitation by his key.
    bob.invite("bob2", "admin").await.is(StatusCode::CREATED);
    by_key.invite("bob3", "admin").await.is(StatusCode::CREATED);

    let removed = ada.delete(&path(&bob)).await.is(StatusCode::OK).json();
    assert_eq!(names(&removed["revoked_api_keys"]), ["robot", "robot's robot", "third"]);
    assert_eq!(removed["withdrawn_invitations"].as_array().unwrap().len(), 2);
    for key in [&by_bob, &by_key, &third] {
        assert_refused(key).await;
        let back = key.invite("bob", "admin").await;
        back.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    for subject in ["bob2", "bob3"] {
        let accepted = app.non_member(subject).accept_invitation().await;
        accepted.problem(StatusCode::NOT_FOUND, "not-found");
    }
    adas.get("/campaigns").await.ok();

    let events = access_events(&app).await;
    assert_eq!(
        events[events.len() - 6..],
        [
            "Ada: api_key.revoked robot",
            "Ada: api_key.revoked robot's robot",
            "Ada: api_key.revoked third",
            "Ada: member.invitation_withdrawn @bob2",
            "Ada: member.invitation_withdrawn @bob3",
            "Ada: member.removed @bob",
        ]
    );
    let recorded = app.team.events().await.pop().unwrap();
    assert_eq!(
        recorded.event_data["data"]["revoked_api_keys"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert!(!recorded.threadable, "it does not notify anybody");
    assert_eq!(ada.get("/threads").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn keys_end_with_their_owner_and_with_the_person_who_made_them_for_another() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Admin).await;
    let cleo = app.member("cleo", Role::Admin).await;
    let (of_cleo, _) = cleo.make_key("cleos", "member").await;
    // Bob made this key on Cleo's behalf: it has her rights, and he knows its secret.
    let (in_her_name, _) = app.bearer(impersonation("bob", "cleo")).make_key("both", "admin").await;

    let left = bob.delete(&path(&bob)).await.is(StatusCode::OK).json();
    assert_eq!(names(&left["revoked_api_keys"]), ["both"]);
    assert_refused(&in_her_name).await;
    of_cleo.get("/campaigns").await.ok();
    let removed = ada.delete(&path(&cleo)).await.is(StatusCode::OK).json();
    assert_eq!(names(&removed["revoked_api_keys"]), ["cleos"]);
    assert_refused(&of_cleo).await;
}

/// When an owner leaves, each of their keys is revoked with an event, all in one transaction.
#[tokio::test]
async fn a_member_has_a_limited_number_of_keys() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Admin).await;
    let mut bobs_id = String::new();
    for (maker, name) in [(&bob, "bobs"), (&ada, "adas")] {
        let (_, id) = maker.make_key(name, "viewer").await;
        if name == "bobs" {
            bobs_id = id;
        }
    }
    let copies = "INSERT INTO api_keys (team_id, id, name, prefix, secret_sha256, role, created_by, owned_by)
        SELECT team_id, gen_random_uuid(), 'copy', 'copy' || n, secret_sha256, role, created_by, owned_by
        FROM api_keys, generate_series(2, 500) AS n WHERE name = 'adas'";
    app.team.connection().await.execute(copies).await.unwrap();

    let refused = ada
        .post("/api-keys", json!({"name": "one more", "role": "viewer"}))
        .await;
    refused.problem(StatusCode::CONFLICT, "too-many-api-keys");
    let adopted = ada.post(&format!("/api-keys/{bobs_id}/adopt"), json!(null)).await;
    adopted.problem(StatusCode::CONFLICT, "too-many-api-keys");
    bob.make_key("another", "viewer").await;

    // Revoked keys don't count.
    let revoke = "UPDATE api_keys SET revoked_at = now() WHERE prefix IN ('copy2', 'copy3')";
    app.team.connection().await.execute(revoke).await.unwrap();
    ada.make_key("one more", "viewer").await;
    let removed = bob.delete(&path(&bob)).await.is(StatusCode::OK).json();
    assert_eq!(names(&removed["revoked_api_keys"]), ["bobs", "another"]);
}

/// Keys that a member made in another person's name count as theirs already, so that adopting one adds none.
#[tokio::test]
async fn a_member_at_the_limit_adopts_a_key_that_counts_as_theirs() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    app.member("bob", Role::Admin).await;
    let (_, own) = ada.make_key("adas", "viewer").await;
    let in_his_name = app.bearer(impersonation("ada", "bob"));
    let (_, his) = in_his_name.make_key("both", "viewer").await;
    let copies = "INSERT INTO api_keys (team_id, id, name, prefix, secret_sha256, role, created_by, owned_by)
        SELECT team_id, gen_random_uuid(), 'copy', 'copy' || n, secret_sha256, role, created_by, owned_by
        FROM api_keys, generate_series(3, 500) AS n WHERE name = 'adas'";
    app.team.connection().await.execute(copies).await.unwrap();
    let refused = ada
        .post("/api-keys", json!({"name": "one more", "role": "viewer"}))
        .await;
    refused.problem(StatusCode::CONFLICT, "too-many-api-keys");
    let another_in_his_name = in_his_name.post("/api-keys", json!({"name": "one more", "role": "viewer"}));
    another_in_his_name
        .await
        .problem(StatusCode::CONFLICT, "too-many-api-keys");

    for id in [&own, &his] {
        let adopted = ada.post(&format!("/api-keys/{id}/adopt"), json!(null)).await.ok();
        assert_eq!(adopted["owned_by"], json!(ada.id()), "{adopted}");
    }
}

#[tokio::test]
async fn a_demoted_admins_keys_lose_the_same_rights() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Owner).await;
    let (admin, _) = bob.make_key("admin", "admin").await;
    let (member, _) = bob.make_key("member", "member").await;
    let (viewer, _) = bob.make_key("viewer", "viewer").await;
    bob.invite("kim", "owner").await.is(StatusCode::CREATED);
    bob.invite("lou", "member").await.is(StatusCode::CREATED);

    let lists = |changed: &Value| {
        let keys = names(&changed["lowered_api_keys"]).join(" ");
        let invitations = changed["withdrawn_invitations"].as_array().unwrap().iter();
        let handles: Vec<_> = invitations
            .map(|item| item["handle"].as_str().unwrap().to_owned())
            .collect();
        (keys, handles.join(" "))
    };
    let changed = ada.patch(&path(&bob), json!({"role": "admin"})).await.ok();
    assert_eq!(
        lists(&changed),
        (String::new(), "kim".to_owned()),
        "an admin can't invite an owner"
    );
    admin.get("/api-keys").await.ok();
    let changed = ada.patch(&path(&bob), json!({"role": "member"})).await.ok();
    assert_eq!(lists(&changed), ("admin".to_owned(), "lou".to_owned()));
    admin.get("/api-keys").await.problem(StatusCode::FORBIDDEN, "forbidden");
    admin.create_campaign("as a member", "1").await;
    let changed = ada.patch(&path(&bob), json!({"role": "viewer"})).await.ok();
    assert_eq!(lists(&changed), ("admin member".to_owned(), String::new()));
    for key in [&admin, &member, &viewer] {
        key.get("/campaigns").await.ok();
        let write = key.post("/campaigns", json!({"name": "x", "budget": "1"})).await;
        write.problem(StatusCode::FORBIDDEN, "forbidden");
    }
    // Lowered rights stay lowered when the person becomes an admin again.
    let changed = ada.patch(&path(&bob), json!({"role": "admin"})).await.ok();
    assert_eq!(lists(&changed), (String::new(), String::new()));
    admin.get("/api-keys").await.problem(StatusCode::FORBIDDEN, "forbidden");
    let events = access_events(&app).await;
    assert_eq!(
        events
            .iter()
            .filter(|event| *event == "Ada: api_key.lowered admin")
            .count(),
        2
    );
    assert_eq!(
        events
            .iter()
            .filter(|event| *event == "Ada: member.changed @bob")
            .count(),
        4
    );
}

#[tokio::test]
async fn an_adopted_key_stays() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Admin).await;
    let linus = app.member("linus", Role::Member).await;
    let (key, id) = bob.make_key("robot", "admin").await;
    let (other, _) = bob.make_key("other", "admin").await;
    let adopt = format!("/api-keys/{id}/adopt");
    for nobody in [&linus, &other] {
        let refused = nobody.post(&adopt, json!(null)).await;
        refused.problem(StatusCode::FORBIDDEN, "forbidden");
    }
    let adopted = ada.team_request(axum::http::Method::POST, &adopt).await.ok();
    assert_eq!(
        (&adopted["owned_by"], &adopted["created_by"]),
        (&json!(ada.id()), &json!(bob.id()))
    );
    let removed = ada.delete(&path(&bob)).await.ok();
    assert_eq!(names(&removed["revoked_api_keys"]), ["other"]);
    key.get("/api-keys").await.ok();
    assert_refused(&other).await;
    ada.delete(&format!("/api-keys/{id}")).await.is(StatusCode::NO_CONTENT);
    let late = ada.team_request(axum::http::Method::POST, &adopt).await;
    late.problem(StatusCode::CONFLICT, "key-revoked");
    assert_eq!(
        access_events(&app).await[2..],
        [
            "Ada: api_key.adopted robot",
            "Ada: api_key.revoked other",
            "Ada: member.removed @bob",
            "Ada: api_key.revoked robot",
        ]
    );
}

/// The maker of a key is removed while the key is being made: the transaction that comes second sees the first.
#[tokio::test]
async fn a_key_that_is_being_made_while_its_maker_is_removed_does_not_stay() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.team.member("bob", Role::Admin).await;
    let making = app.database.begin(&bob.context).await.unwrap();
    let new = NewKey {
        name: "late".to_owned(),
        role: KeyRole::Admin,
        expires_at: None,
    };
    make_key(&making, &new).await.unwrap();
    let removing = tokio::spawn({
        let removal = ada.delete(&format!("/members/{}", bob.user_id));
        async move { removal.await.ok() }
    });
    wait_for_blocked_session(&app.db).await;
    making.commit().await.unwrap();
    let removed = removing.await.unwrap();
    assert_eq!(names(&removed["revoked_api_keys"]), ["late"]);
}

/// A revocation that has ended is followed by no key that the revoked one makes.
#[tokio::test]
async fn a_key_that_makes_another_one_is_revoked_after_that() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (_, id) = ada.make_key("robot", "admin").await;
    let robot = Context {
        actor: Actor::ApiKey {
            id: id.parse().unwrap(),
            name: "robot".to_owned(),
        },
        ..app.team.system()
    };
    let making = app.database.begin(&robot).await.unwrap();
    let new = NewKey {
        name: "another".to_owned(),
        role: KeyRole::Admin,
        expires_at: None,
    };
    make_key(&making, &new).await.unwrap();
    let revoking = tokio::spawn(ada.delete(&format!("/api-keys/{id}")).into_future());
    wait_for_blocked_session(&app.db).await;
    making.commit().await.unwrap();
    revoking.await.unwrap().is(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn cached_rights_end_with_the_credential() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Admin).await;
    let cleo = app.member("cleo", Role::Member).await;
    let (writer, _) = bob.make_key("writer", "member").await;
    let (reader, _) = bob.make_key("reader", "viewer").await;
    let (revoked, id) = ada.make_key("revoked", "member").await;
    let run = run(&ada).await;
    let address = app.serve(|router| router).await;
    let mut events = Events::open(&address, &reader, &format!("{run}/events"), &[]).await;
    for key in [&writer, &revoked] {
        append(key, &run, &[console("while it holds")]).await.ok();
    }
    for _ in 0..4 {
        events.next().await.unwrap();
    }
    // Within the second for which a right to write is cached, and the ten seconds for a right to read.
    ada.delete(&format!("/api-keys/{id}")).await.is(StatusCode::NO_CONTENT);
    let late = append(&revoked, &run, &[console("too late")]).await;
    late.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    append(&cleo, &run, &[console("as a member")]).await.ok();
    ada.patch(&path(&cleo), json!({"role": "viewer"})).await.ok();
    let late = append(&cleo, &run, &[console("too late")]).await;
    late.problem(StatusCode::FORBIDDEN, "forbidden");
    ada.delete(&path(&bob)).await.ok();
    let late = append(&writer, &run, &[console("too late")]).await;
    late.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    append(&ada, &run, &[console("for members")]).await.ok();
    let mut rest = Vec::new();
    while let Some(event) = events.next().await {
        rest.push(format!("{event:?}"));
    }
    assert!(!rest.concat().contains("for members"), "{rest:?}");
}
