//! Tests the guestbook as its author would: through its routes, on its own database.

#![expect(clippy::unwrap_used, reason = "a test's own helpers")]
#![expect(clippy::disallowed_methods, reason = "tests wait by the machine's clock")]

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use axum::{Router, http::header};
use daybook::assert_events;
use daybook::auth::{Authenticator, NewToken, mint};
use daybook::config::Config;
use daybook::jobs::{WorkerOptions, Workers};
use daybook::live::{Live, LiveOptions};
use daybook::prelude::*;
use daybook::tenancy::WorkerDatabase;
use daybook::testing::TestDb;
use sea_orm::Statement;
use tower::ServiceExt as _;

#[tokio::test]
async fn guests_are_added_counted_deleted_and_thanked_with_their_own_sentences() {
    let app = guestbook::app();
    let db = TestDb::with_migrations(app.migrations().clone()).await;
    let team = db.team("The Ritz").await;
    let ada = team.member("ada", Role::Member).await;
    let database = app.equip(db.database_with(Consumers::none()).await).unwrap();
    let config = Config::from_lookup(&|name| match name {
        "DAYBOOK_JWT_SECRET" => Some("x".repeat(32)),
        "DAYBOOK_JWT_ISSUER" => Some(ada.issuer.clone()),
        _ => None,
    })
    .unwrap();
    let token = mint(&config.auth, &NewToken::new(&ada.subject), TimeDelta::hours(1)).unwrap();
    let state = AppState::new(
        database.clone(),
        Authenticator::new(&config.auth).unwrap(),
        config.http,
        Live::start(&database, None, LiveOptions::default()).unwrap(),
        None,
    );
    let guests = Guests {
        router: app.into_router(state),
        path: format!("/v1/teams/{}/guests", team.id),
        token,
    };

    let grace = guests
        .call(
            Method::POST,
            "",
            r#"{"name": "Grace", "company": 2, "phone": "555-0100"}"#,
            201,
        )
        .await;
    guests.call(Method::POST, "", r#"{"name": "Linus"}"#, 201).await;
    let refused = guests.call(Method::POST, "", r#"{"nome": "Linus"}"#, 422).await;
    assert!(refused.contains("nome"), "{refused}");
    let id = grace.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
    guests.call(Method::DELETE, &format!("/{id}"), "", 204).await;
    let listed = guests.call(Method::GET, "", "", 200).await;
    assert!(listed.contains("Linus") && !listed.contains("Grace"), "{listed}");

    assert_events!(
        team,
        [
            "CREATED guest “Grace”",
            "CREATED guest “Linus”",
            "DELETED guest “Grace”"
        ]
    );
    let threads = guests
        .call_at(&format!(
            "/v1/teams/{}/threads?object_type=guest&object_id={id}",
            team.id
        ))
        .await;
    let thread = threads.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
    let messages = guests
        .call_at(&format!("/v1/teams/{}/threads/{thread}/messages", team.id))
        .await;
    assert!(
        messages.contains("let in guest “Grace”") && messages.contains("saw off guest “Grace”"),
        "{messages}"
    );
    assert!(!messages.contains("555-0100"), "{messages}");

    let tx = database.begin(&ada.context).await.unwrap();
    let counted = Statement::from_string(tx.get_database_backend(), "SELECT guests FROM guest_counts");
    let counted: i64 = tx
        .query_one_raw(counted)
        .await
        .unwrap()
        .unwrap()
        .try_get("", "guests")
        .unwrap();
    assert_eq!(counted, 2);
    tx.commit().await.unwrap();

    let workers = WorkerDatabase::connect(db.owner_options(), WorkerOptions::CONNECTIONS)
        .await
        .unwrap();
    let workers = Workers::start(&database, &workers, &WorkerOptions::default())
        .await
        .unwrap();
    let sessions = format!("/v1/teams/{}/job-sessions?job=thank_guest&status=succeeded", team.id);
    let began = std::time::Instant::now();
    let session = loop {
        assert!(began.elapsed().as_secs() < 60, "no session has thanked Grace");
        let listed = guests.call_at(&sessions).await;
        if listed.contains("Started thanking Grace") {
            break listed
                .split("\"id\":\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let actions = format!("/v1/teams/{}/job-sessions/{session}/actions", team.id);
    let actions = guests.call_at(&actions).await;
    assert!(actions.contains("Wrote 33 letters of thanks"), "{actions}");
    workers.stop().await;
}

struct Guests {
    router: Router,
    path: String,
    token: String,
}

impl Guests {
    async fn call(&self, method: Method, rest: &str, body: &str, status: u16) -> String {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{rest}", self.path))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let got = response.status();
        let body = String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap();
        assert_eq!(got.as_u16(), status, "{body}");
        body
    }

    async fn call_at(&self, path: &str) -> String {
        let there = Self {
            router: self.router.clone(),
            path: path.to_owned(),
            token: self.token.clone(),
        };
        there.call(Method::GET, "", "", 200).await
    }
}
