//! Nobody is added to a team without consent: people are invited, and accept.

use axum::http::{Method, StatusCode};
use daybook::auth::NewToken;
use daybook::tenancy::Role;
use daybook_tests::http::{ISSUER, TestApp, impersonation, token};
use serde_json::{Value, json};

use super::access_events;

/// Returns an invitation without the fields that only it has.
fn words(mut invitation: Value) -> Value {
    for own in ["id", "created_at"] {
        assert!(invitation.as_object_mut().unwrap().remove(own).is_some(), "{own}");
    }
    invitation
}

#[tokio::test]
async fn an_invitation_reveals_nothing_about_the_person() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    // Ada has her own name and address.
    let hers = NewToken::new("ada").name("Ada Lovelace").email("ada@acme.example");
    app.bearer(token(&hers)).request(Method::GET, "/v1/me").await.ok();
    let beta = app.db.team("Beta").await;
    let bob = app.member_of(&beta, "bob", Role::Owner).await;

    let invite = |subject: &str| {
        let body = json!({"subject": subject, "display_name": "Somebody", "handle": subject, "role": "member"});
        bob.post("/members", body)
    };
    let known = words(invite("ada").await.is(StatusCode::CREATED).json());
    let unknown = words(invite("zoe").await.is(StatusCode::CREATED).json());
    assert_eq!(
        known,
        json!({
            "issuer": ISSUER, "subject": "ada", "role": "member", "handle": "ada", "display_name": "Somebody",
            "email": null, "invited_by": bob.id(), "invited_by_name": "Bob",
        })
    );
    let renamed: Value = serde_json::from_str(&known.to_string().replace("ada", "zoe")).unwrap();
    assert_eq!(renamed, unknown, "known and unknown people look the same");
    let everything = [
        bob.get("/members").await.text(),
        bob.get("/invitations").await.text(),
        format!("{:?}", beta.events().await),
    ]
    .concat();
    for hers in ["Lovelace", "acme.example", &ada.id().to_string()] {
        assert!(!everything.contains(hers), "{hers} is in {everything}");
    }
    // Beta does not see her in the database, either.
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE subject <> 'bob'")
        .fetch_one(&mut beta.connection().await)
        .await
        .unwrap();
    assert_eq!(users, 0);
}

#[tokio::test]
async fn an_invited_person_has_no_rights_until_they_accept() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let vera = app.member("vera", Role::Viewer).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let invitation = ada.invite("mia", "admin").await.is(StatusCode::CREATED).json();
    let mia = app.non_member("mia").for_team(app.team.id);

    for request in [
        mia.get("/campaigns"),
        mia.get("/members"),
        mia.get("/notifications"),
        mia.get("/invitations"),
    ] {
        request.await.problem(StatusCode::NOT_FOUND, "not-found");
    }
    assert_eq!(ada.members().await, ["ada: Ada", "vera: Vera"]);
    ada.comment(&thread, "hello @mia").await;
    let mentioned: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM notifications) + (SELECT count(*) FROM thread_followers
         WHERE user_id <> $1)",
    )
    .bind(ada.id())
    .fetch_one(&mut app.team.connection().await)
    .await
    .unwrap();
    assert_eq!(mentioned, 0, "no person is mentioned");

    // Only admins see who is invited.
    let listed = ada.get("/invitations").await.ok();
    assert_eq!(listed["items"], json!([invitation]));
    vera.get("/invitations")
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");
    ada.invite("mia", "viewer")
        .await
        .problem(StatusCode::CONFLICT, "already-invited");

    assert_eq!(mia.invitations().await, ["Acme"]);
    assert!(app.non_member("somebody else").invitations().await.is_empty());
    mia.accept_invitation().await.ok();
    let accepted = mia.accept_invitation().await.ok();
    assert_eq!(
        accepted,
        json!({"id": app.team.id, "name": "Acme", "role": "admin", "handle": "mia"}),
        "accepting twice is allowed"
    );
    assert_eq!(ada.members().await, ["ada: Ada", "mia: MIA", "vera: Vera"]);
    assert!(mia.unread().await.is_empty(), "earlier messages do not notify them");
    ada.comment(&thread, "hello again, @mia").await;
    assert_eq!(mia.unread().await.len(), 1);
    assert_eq!(ada.get("/invitations").await.ok()["items"], json!([]));
    assert_eq!(
        access_events(&app).await,
        ["Ada: member.invited @mia", "MIA: member.joined @mia"]
    );
}

#[tokio::test]
async fn an_invitation_can_be_declined_or_withdrawn_and_is_then_not_found() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for subject in ["mia", "noa", "oli"] {
        ada.invite(subject, "member").await.is(StatusCode::CREATED);
    }
    let person = |subject: &str| app.non_member(subject).for_team(app.team.id);
    person("mia").decline_invitation().await.is(StatusCode::NO_CONTENT);
    let listed = ada.get("/invitations").await.ok();
    let noa = listed["items"][1]["id"].as_str().unwrap().to_owned();
    ada.delete(&format!("/invitations/{noa}"))
        .await
        .is(StatusCode::NO_CONTENT);
    for (subject, request) in [
        ("mia", person("mia").accept_invitation()),
        ("mia", person("mia").decline_invitation()),
        ("noa", person("noa").accept_invitation()),
        ("never invited", person("never invited").accept_invitation()),
        (
            "no team",
            app.non_member("oli").for_team(uuid::Uuid::now_v7()).accept_invitation(),
        ),
        (
            "another issuer's",
            app.non_member("OLI").for_team(app.team.id).accept_invitation(),
        ),
    ] {
        let problem = request.await.problem(StatusCode::NOT_FOUND, "not-found");
        assert_eq!(problem["detail"], "no such invitation", "{subject}");
    }
    // Only the invited person can decide.
    for request in [
        app.bearer(impersonation("ada", "oli"))
            .for_team(app.team.id)
            .accept_invitation(),
        app.bearer(impersonation("ada", "oli"))
            .for_team(app.team.id)
            .decline_invitation(),
        ada.make_key("robot", "admin").await.0.accept_invitation(),
    ] {
        request.await.problem(StatusCode::FORBIDDEN, "forbidden");
    }
    app.anonymous()
        .accept_invitation()
        .await
        .problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    assert_eq!(ada.members().await, ["ada: Ada"]);
    let events = access_events(&app).await;
    assert_eq!(
        events[3..5],
        [
            "invitations: member.invitation_declined @mia",
            "Ada: member.invitation_withdrawn @noa"
        ]
    );
}

/// People who may not invite owners, or may not invite at all, can't do it in a race either: rules are read under
/// locks. This test is about who may add people.
#[tokio::test]
async fn only_the_operator_adds_people_without_consent() {
    let app = TestApp::start().await;
    let ada = app.team.member("ada", Role::Owner).await;
    let new = daybook::teams::NewMember {
        person: daybook::teams::NewPerson {
            issuer: ISSUER.to_owned(),
            subject: "mia".to_owned(),
            display_name: "Mia".to_owned(),
            email: None,
        },
        handle: "mia".to_owned(),
        role: Role::Member,
    };
    let tx = app.database.begin(&ada.context).await.unwrap();
    let refused = daybook::teams::add_member(&tx, &new).await.unwrap_err();
    assert!(refused.to_string().contains("invite"), "{refused}");
    tx.rollback().await.unwrap();
    // She is also invited; adding her ends the invitation.
    let tx = app.database.begin(&ada.context).await.unwrap();
    daybook::teams::invite(&tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    let tx = app.database.begin(&app.team.system()).await.unwrap();
    daybook::teams::add_member(&tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    assert!(app.non_member("mia").invitations().await.is_empty());
    assert_eq!(
        access_events(&app).await,
        ["Ada: member.invited @mia", "test: member.added @mia"]
    );
}

#[tokio::test]
async fn a_handle_that_an_invitation_reserves_is_not_given_to_a_member() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    ada.invite("mia", "member").await.is(StatusCode::CREATED);
    let path = format!("/members/{}", grace.id());
    ada.patch(&path, json!({"handle": "mia"}))
        .await
        .problem(StatusCode::CONFLICT, "handle-taken");
    let mia = app.non_member("mia").for_team(app.team.id);
    assert_eq!(mia.accept_invitation().await.ok()["handle"], "mia");
}

#[tokio::test]
async fn a_person_sees_their_oldest_invitations_first() {
    let app = TestApp::start().await;
    let mut names = Vec::new();
    for name in ["Zeta", "Alpha", "Middle"] {
        let team = app.db.team(name).await;
        let owner = app.member_of(&team, &name.to_lowercase(), Role::Owner).await;
        owner.invite("mia", "member").await.is(StatusCode::CREATED);
        names.push(name);
    }
    assert_eq!(app.non_member("mia").invitations().await, names);
}
