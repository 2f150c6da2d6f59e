//! Tests of who may open a socket, and when a socket is closed.

use axum::http::{HeaderValue, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use daybook::auth::{NewToken, mint};
use daybook::live::LiveOptions;
use daybook::tenancy::Role;
use daybook_tests::http::{Client, auth_config, impersonation};
use daybook_tests::live::LiveClient;
use daybook_tests::{WAIT_LIMIT, eventually};
use serde_json::json;
use sqlx::Executor;
use uuid::Uuid;

use super::LiveFixture;

async fn ticket(client: &Client) -> String {
    let answer = client
        .post("/live/tickets", json!({}))
        .await
        .is(StatusCode::CREATED)
        .json();
    answer["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_socket_for_its_owner() {
    let fixture = LiveFixture::new().await;
    let ticket = ticket(&fixture.grace).await;
    let anonymous = fixture.app.anonymous();
    let request = || LiveClient::request(fixture.address, &anonymous, &format!("?ticket={ticket}"));
    let mut live = LiveClient::try_connect(fixture.address, request()).await.unwrap();
    live.follow(json!({"type": "subscribe", "topic": "notifications"}))
        .await;

    let (status, problem) = LiveClient::try_connect(fixture.address, request()).await.unwrap_err();
    assert_eq!(
        (status, &problem["type"]),
        (401, &json!("/problems/unauthenticated")),
        "{problem}"
    );
    assert!(!problem.to_string().contains(&ticket));
    // A ticket of another team is not valid for this team.
    let foreign = fixture.app.db.team("Umbrella").await;
    let other = fixture.app.member_of(&foreign, "eve", Role::Owner).await;
    let mut elsewhere = self::ticket(&other).await;
    elsewhere.insert_str(0, "?ticket=");
    let request = LiveClient::request(fixture.address, &anonymous, &elsewhere);
    assert_eq!(
        LiveClient::try_connect(fixture.address, request).await.unwrap_err().0,
        401
    );
}

#[tokio::test]
async fn a_refused_client_receives_a_problem_document() {
    let fixture = LiveFixture::new().await;
    let foreign = fixture.app.db.team("Umbrella").await;
    let eve = fixture.app.member_of(&foreign, "eve", Role::Owner).await;
    for (client, expected) in [
        (fixture.app.anonymous(), 401),
        (eve.for_team(fixture.app.team.id), 404),
        (fixture.app.bearer("x"), 401),
    ] {
        let request = LiveClient::request(fixture.address, &client, "");
        assert_eq!(
            LiveClient::try_connect(fixture.address, request).await.unwrap_err().0,
            expected
        );
    }
    for (origin, is_allowed) in [
        (format!("http://{}", fixture.address), true),
        ("https://evil.example".to_owned(), false),
        (format!("http://evil{}", fixture.address), false),
        (format!("http://{}.evil.example", fixture.address), false),
        ("null".to_owned(), false),
    ] {
        let mut request = LiveClient::request(fixture.address, &fixture.grace, "");
        request
            .headers_mut()
            .insert("origin", HeaderValue::from_str(&origin).unwrap());
        let opened = LiveClient::try_connect(fixture.address, request).await;
        assert_eq!(
            opened.err().map(|(status, _)| status),
            (!is_allowed).then_some(403),
            "{origin}"
        );
    }
}

#[tokio::test]
async fn another_teams_thread_is_answered_like_a_missing_one() {
    let fixture = LiveFixture::new().await;
    let foreign = fixture.app.db.team("Umbrella").await;
    let eve = fixture.app.member_of(&foreign, "eve", Role::Owner).await;
    let mut live = fixture.connect(&eve).await;
    let mut answers = Vec::new();
    for id in [fixture.thread_id().to_owned(), Uuid::now_v7().to_string()] {
        for seq in [None, Some(0), Some(1_000)] {
            live.send(json!({"type": "subscribe", "topic": format!("thread:{id}"), "seq": seq}))
                .await;
            answers.push(live.next().await.to_string().replace(&id, "…"));
        }
    }
    answers.dedup();
    assert_eq!(
        answers,
        [r#"{"code":"not-found","detail":"no such thread","topic":"thread:…","type":"error"}"#]
    );
    fixture.change_budget("200").await;
    assert!(live.frames_until_pong().await.is_empty());
}

#[tokio::test]
async fn a_member_who_leaves_the_team_is_disconnected() {
    let fixture = LiveFixture::new().await;
    let (robot, key) = fixture.ada.make_key("robot", "viewer").await;
    let (mut grace, mut program, mut ada) = (
        fixture.connect(&fixture.grace).await,
        fixture.connect(&robot).await,
        fixture.connect(&fixture.ada).await,
    );
    fixture
        .ada
        .delete(&format!("/members/{}", fixture.grace.id()))
        .await
        .is(StatusCode::OK);
    assert_eq!(
        grace.wait_for_close().await,
        (4403, "no longer in this team".to_owned())
    );
    fixture
        .ada
        .delete(&format!("/api-keys/{key}"))
        .await
        .is(StatusCode::NO_CONTENT);
    assert_eq!(program.wait_for_close().await.0, 4403);
    assert!(ada.frames_until_pong().await.is_empty(), "other members stay connected");
    drop(ada);
    eventually("all sockets are closed", async || fixture.app.live.open_sockets() == 0).await;
}

#[tokio::test]
async fn a_socket_is_closed_when_its_token_expires() {
    let fixture = LiveFixture::new().await;
    let token = mint(&auth_config(), &NewToken::new("grace"), TimeDelta::seconds(2)).unwrap();
    let brief = fixture.app.bearer(token);
    let ticket = ticket(&brief).await;
    let request = LiveClient::request(fixture.address, &fixture.app.anonymous(), &format!("?ticket={ticket}"));
    let mut by_ticket = LiveClient::try_connect(fixture.address, request).await.unwrap();
    let mut by_token = fixture.connect(&brief).await;
    assert_eq!(by_token.wait_for_close().await.0, 4401);
    assert_eq!(
        by_ticket.wait_for_close().await.0,
        4401,
        "a ticket doesn't extend the token's time"
    );
}

#[tokio::test]
async fn a_socket_and_a_ticket_of_an_api_key_end_when_the_key_expires() {
    let fixture = LiveFixture::new().await;
    let (robot, _) = fixture.ada.make_key("robot", "viewer").await;
    let ticket = ticket(&robot).await;
    let mut live = fixture.connect(&robot).await;
    let mut inside = fixture.app.team.connection().await;
    inside.execute("UPDATE api_keys SET expires_at = now()").await.unwrap();
    assert_eq!(live.wait_for_close().await.0, 4403);
    assert_eq!(refusal_of(&fixture, &ticket).await, 401);
}

#[tokio::test]
async fn a_ticket_expires_after_its_time_or_with_its_credential() {
    let fixture = LiveFixture::new().await;
    let late = ticket(&fixture.ada).await;
    let run = crate::runs::run(&fixture.ada).await;
    let tickets = format!("{run}/tickets");
    let for_a_run = fixture.ada.post(&tickets, json!({})).await.ok()["ticket"].clone();
    let mut inside = fixture.app.team.connection().await;
    let age = "UPDATE ws_tickets SET expires_at = now() - interval '1 microsecond'";
    inside.execute(age).await.unwrap();
    assert_eq!(refusal_of(&fixture, &late).await, 401);
    let log = format!("{run}/events?ticket={}", for_a_run.as_str().unwrap());
    fixture.app.anonymous().get(&log).await.is(StatusCode::UNAUTHORIZED);

    let began = Utc::now();
    let token = mint(&auth_config(), &NewToken::new("ada"), TimeDelta::seconds(10)).unwrap();
    let brief = fixture.app.bearer(token);
    for path in ["/live/tickets", &tickets] {
        let made = brief.post(path, json!({})).await.is(StatusCode::CREATED).json();
        let expires_at: DateTime<Utc> = made["expires_at"].as_str().unwrap().parse().unwrap();
        assert!(expires_at <= began + TimeDelta::seconds(11), "{path}: {made}");
    }
}

/// A person of the support, who is not a member, acts on behalf of Grace, who is a member.
#[tokio::test]
async fn a_socket_on_behalf_of_a_member_is_closed_when_the_member_leaves() {
    let fixture = LiveFixture::new().await;
    let beta = fixture.app.db.team("Beta").await;
    fixture.app.member_of(&beta, "support", Role::Owner).await;
    let as_grace = fixture.app.bearer(impersonation("support", "grace"));
    let (first, second) = (ticket(&as_grace).await, ticket(&as_grace).await);
    let request = LiveClient::request(fixture.address, &fixture.app.anonymous(), &format!("?ticket={first}"));
    let mut live = LiveClient::try_connect(fixture.address, request).await.unwrap();
    assert!(live.frames_until_pong().await.is_empty());
    let leave = fixture.ada.delete(&format!("/members/{}", fixture.grace.id()));
    leave.await.is(StatusCode::OK);
    assert_eq!(live.wait_for_close().await.0, 4403);
    assert_eq!(refusal_of(&fixture, &second).await, 404);
}

/// Returns the status with which a ticket's socket is refused.
async fn refusal_of(fixture: &LiveFixture, ticket: &str) -> u16 {
    let request = LiveClient::request(fixture.address, &fixture.app.anonymous(), &format!("?ticket={ticket}"));
    LiveClient::try_connect(fixture.address, request).await.unwrap_err().0
}

#[tokio::test]
async fn a_stopping_service_closes_its_sockets_and_waits_for_them() {
    let fixture = LiveFixture::new().await;
    let (mut grace, mut ada) = (
        fixture.connect(&fixture.grace).await,
        fixture.connect(&fixture.ada).await,
    );
    let live = fixture.app.live.clone();
    let closing = tokio::spawn(async move { live.close(WAIT_LIMIT).await });
    assert_eq!(grace.wait_for_close().await.0, 1001);
    assert_eq!(ada.wait_for_close().await.0, 1001);
    drop((grace, ada));
    closing.await.unwrap();
    assert_eq!(fixture.app.live.open_sockets(), 0);
    let mut late = fixture.connect(&fixture.ada).await;
    assert_eq!(late.wait_for_close().await.0, 1001);
}

#[tokio::test]
async fn the_number_of_sockets_of_a_process_is_limited() {
    let fixture = LiveFixture::with_options(LiveOptions::default().max_sockets(1)).await;
    let first = fixture.connect(&fixture.ada).await;
    let request = || LiveClient::request(fixture.address, &fixture.grace, "");
    assert_eq!(
        LiveClient::try_connect(fixture.address, request()).await.unwrap_err().0,
        503
    );
    drop(first);
    eventually("the socket is closed", async || fixture.app.live.open_sockets() == 0).await;
    LiveClient::try_connect(fixture.address, request()).await.unwrap();
}

#[tokio::test]
async fn an_expired_ticket_is_refused() {
    let fixture = LiveFixture::new().await;
    let run = crate::runs::run(&fixture.ada).await;
    let of_socket = ticket(&fixture.grace).await;
    let of_run = fixture.grace.post(&format!("{run}/tickets"), json!({})).await;
    let of_run = of_run.is(StatusCode::CREATED).json()["ticket"]
        .as_str()
        .unwrap()
        .to_owned();
    let read = async || {
        let path = format!("{run}/events?ticket={of_run}");
        fixture.app.anonymous().get(&path).await.status
    };
    assert_eq!(read().await, StatusCode::OK);
    sqlx::query("UPDATE ws_tickets SET expires_at = now() - interval '1 ms'")
        .execute(&mut fixture.app.team.connection().await)
        .await
        .unwrap();
    assert_eq!(read().await, StatusCode::UNAUTHORIZED);
    let anonymous = fixture.app.anonymous();
    let request = LiveClient::request(fixture.address, &anonymous, &format!("?ticket={of_socket}"));
    let (status, _) = LiveClient::try_connect(fixture.address, request).await.unwrap_err();
    assert_eq!(status, 401);
}

#[tokio::test]
async fn a_ticket_expires_no_later_than_its_token() {
    let fixture = LiveFixture::new().await;
    let run = crate::runs::run(&fixture.ada).await;
    let ends = TimeDelta::seconds(20);
    let brief = fixture
        .app
        .bearer(mint(&auth_config(), &NewToken::new("grace"), ends).unwrap());
    for path in ["/live/tickets".to_owned(), format!("{run}/tickets")] {
        let ticket = brief.post(&path, json!({})).await.is(StatusCode::CREATED).json();
        let expires_at: chrono::DateTime<chrono::Utc> = ticket["expires_at"].as_str().unwrap().parse().unwrap();
        assert!(expires_at <= chrono::Utc::now() + ends, "{path}: {expires_at}");
    }
}

#[tokio::test]
async fn a_socket_is_closed_when_its_api_key_expires() {
    let fixture = LiveFixture::new().await;
    let (robot, _) = fixture.ada.make_key("robot", "viewer").await;
    let mut program = fixture.connect(&robot).await;
    sqlx::query("UPDATE api_keys SET expires_at = now()")
        .execute(&mut fixture.app.team.connection().await)
        .await
        .unwrap();
    assert_eq!(program.wait_for_close().await.0, 4403);
}
