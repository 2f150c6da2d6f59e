//! Tokens that are not valid, and tokens that name two people.

use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daybook::assert_events;
use daybook::tenancy::Role;
use daybook_tests::http::{ISSUER, SECRET, TestApp, impersonation};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const FAR_FUTURE: i64 = 4_102_444_800;

fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    encode(
        &Header::new(algorithm),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap()
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

#[tokio::test]
async fn invalid_tokens_are_refused_without_leaking_their_content() {
    let app = TestApp::start().await;
    app.member("ada", Role::Owner).await;
    let claims = json!({"iss": ISSUER, "sub": "ada", "exp": FAR_FUTURE});
    let good = signed(Algorithm::HS256, SECRET, &claims);
    app.bearer(&good).get("/campaigns").await.ok();

    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        signed(Algorithm::HS256, SECRET, &changed)
    };
    let (head, signature) = (good.split('.').next().unwrap(), good.rsplit('.').next().unwrap());
    let another = part(&json!({"iss": ISSUER, "sub": "grace", "exp": FAR_FUTURE}));
    let none = |alg: &str| format!("{}.{}.", part(&json!({"alg": alg, "typ": "JWT"})), part(&claims));
    for (why, token) in [
        ("expired", with("exp", json!(1_600_000_000))),
        ("not yet valid", with("nbf", json!(FAR_FUTURE - 1))),
        ("another issuer", with("iss", json!("https://elsewhere.test"))),
        ("for another audience", with("aud", json!("another-service"))),
        ("nobody", with("sub", Value::Null)),
        ("empty", with("sub", json!(""))),
        ("never ends", with("exp", Value::Null)),
        (
            "another secret",
            signed(Algorithm::HS256, "another secret of enough bytes, as it were", &claims),
        ),
        ("another algorithm", signed(Algorithm::HS384, SECRET, &claims)),
        ("alg none", none("none")),
        ("alg None", none("None")),
        ("alg none, signed", format!("{}{signature}", none("none"))),
        ("another payload", format!("{head}.{another}.{signature}")),
        ("no signature", good.rsplit_once('.').unwrap().0.to_owned()),
        ("not a token", "x".to_owned()),
        ("long", "x".repeat(10_000)),
    ] {
        let answer = app.bearer(&token).get("/campaigns").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}: {answer:?}");
        assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
        let text = answer.text();
        assert!(!text.contains(&token) || token == "x", "{why}: {text}");
        answer.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
        let me = app.bearer(&token).request(Method::GET, "/v1/me").await;
        assert_eq!(me.status, StatusCode::UNAUTHORIZED, "{why}");
    }
    for header in ["Basic YWRhOmFkYQ==", "Bearer", "Bearer ", &good] {
        let answer = app.anonymous().get("/campaigns").header("authorization", header).await;
        answer.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    let lower = app
        .anonymous()
        .get("/campaigns")
        .header("authorization", &format!("bearer {good}"));
    lower.await.ok();
}

#[tokio::test]
async fn a_person_who_acts_on_behalf_of_another_is_recorded_too() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let linus = app.member("linus", Role::Viewer).await;
    // Support has joined another team, and has no rights of their own in this one.
    let beta = app.db.team("Beta").await;
    let support = app.member_of(&beta, "support", Role::Owner).await;

    let as_ada = app.bearer(impersonation("support", "ada"));
    let (_, thread) = as_ada.campaign_with_thread("Spring").await;
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
    let event = app.team.events().await.pop().unwrap();
    assert_eq!((event.actor.id(), event.actor.name()), (support.user_id, "Support"));
    let behalf = event.on_behalf_of.unwrap();
    assert_eq!((Some(behalf.id), behalf.name.as_str()), (ada.user_id, "Ada"));
    assert_eq!(
        ada.thread_texts(&thread).await,
        ["Support on behalf of Ada created campaign “Spring”"]
    );
    assert!(
        ada.unread().await.is_empty(),
        "a person is not notified of what is done on their behalf"
    );

    // The rights are those of the person on whose behalf the request is made, not those of the acting person.
    let as_linus = app.bearer(impersonation("ada", "linus"));
    let denied = as_linus.post("/campaigns", json!({"name": "x", "budget": "1"})).await;
    denied.problem(StatusCode::FORBIDDEN, "forbidden");
    assert_eq!(
        as_linus.request(Method::GET, "/v1/me").await.ok()["user"]["id"],
        json!(linus.id())
    );
    support
        .for_team(app.team.id)
        .get("/campaigns")
        .await
        .problem(StatusCode::NOT_FOUND, "not-found");
    let by_nobody = app.bearer(impersonation("nobody", "ada")).get("/campaigns").await;
    by_nobody.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    app.bearer(impersonation("ada", "nobody"))
        .get("/campaigns")
        .await
        .problem(StatusCode::NOT_FOUND, "not-found");
}

#[tokio::test]
async fn an_unverified_address_is_not_used() {
    let app = TestApp::start().await;
    app.member("ada", Role::Owner).await;
    let email = async |verified: Value| {
        let address = "ada@new.example";
        let claims =
            json!({"iss": ISSUER, "sub": "ada", "exp": FAR_FUTURE, "email": address, "email_verified": verified});
        let ada = app.bearer(signed(Algorithm::HS256, SECRET, &claims));
        ada.request(Method::GET, "/v1/me").await.ok()["user"]["email"] == address
    };
    for unverified in [json!(false), json!("false")] {
        assert!(!email(unverified).await);
    }
    assert!(email(json!(true)).await);
}
