use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::config::{PublicKey, Secret};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn hs256() -> AuthConfig {
    AuthConfig {
        key: Some(JwtKey::Secret(Secret::new(SECRET))),
        issuer: "daybook".to_owned(),
        audience: None,
    }
}

fn signed(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).unwrap()
}

/// The result of an HS256 verifier for these claims; `exp`, `iss` and `sub` are valid unless given.
fn verdict(claims: Value) -> String {
    let mut whole = json!({"exp": in_seconds(60), "iss": "daybook", "sub": "ada"});
    for (claim, value) in claims.as_object().unwrap() {
        whole[claim] = value.clone();
    }
    whole.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let token = signed(&Header::default(), &whole, &EncodingKey::from_secret(SECRET.as_bytes()));
    match verify(&hs256(), &token) {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            assert!(!error.to_string().contains(&token));
            error.to_string()
        }
    }
}

fn verify(config: &AuthConfig, token: &str) -> Result<UserPrincipal> {
    JwtVerifier::new(config)
        .unwrap()
        .unwrap()
        .verify(token, Clock::system().now())
}

fn in_seconds(seconds: i64) -> i64 {
    Clock::system().now().timestamp() + seconds
}

#[test]
fn a_created_token_is_accepted() {
    let config = AuthConfig {
        audience: Some("daybook-eu".to_owned()),
        ..hs256()
    };
    let token = NewToken {
        name: Some(" Ada\u{0}  Lovelace ".to_owned()),
        email: Some("ada@example.org".to_owned()),
        acting: Some(ActingPerson {
            issuer: "daybook".to_owned(),
            subject: "support-7".to_owned(),
        }),
        ..NewToken::new("ada")
    };
    let user = verify(&config, &mint(&config, &token, TimeDelta::hours(1)).unwrap()).unwrap();
    assert_eq!(user.subject, "ada");
    assert_eq!(user.name.as_deref(), Some("Ada  Lovelace"));
    assert_eq!(user.email.as_deref(), Some("ada@example.org"));
    assert_eq!(user.acting.unwrap().subject, "support-7");
    let left = user.expires_at - Clock::system().now();
    assert!(left <= TimeDelta::hours(1) && left > TimeDelta::minutes(59));
}

#[test]
fn a_token_expires_by_the_given_clock() {
    let token = mint(&hs256(), &NewToken::new("ada"), TimeDelta::hours(1)).unwrap();
    let verifier = JwtVerifier::new(&hs256()).unwrap().unwrap();
    let now = Clock::system().now();
    assert!(verifier.verify(&token, now + TimeDelta::minutes(59)).is_ok());
    let error = verifier.verify(&token, now + TimeDelta::hours(2)).unwrap_err();
    assert!(error.to_string().contains("has expired"), "{error}");
}

#[test]
fn invalid_claims_get_helpful_errors() {
    assert_eq!(verdict(json!({})), "ok");
    assert_eq!(verdict(json!({"exp": in_seconds(-20)})), "ok", "within the leeway");
    assert_eq!(
        verdict(json!({"exp": in_seconds(-40)})),
        "the token has expired; get a fresh one"
    );
    assert_eq!(verdict(json!({"exp": null})), "the token has no usable exp claim");
    assert_eq!(verdict(json!({"exp": "tomorrow"})), "the token can't be read as a JWT");
    assert_eq!(verdict(json!({"exp": 1e15})), "ok");
    assert_eq!(
        verdict(json!({"iss": "evil"})),
        "the token's iss isn't one that this service trusts"
    );
    assert_eq!(verdict(json!({"iss": null})), "the token has no usable iss claim");
    assert_eq!(verdict(json!({"sub": null})), "the token has no usable sub claim");
    assert_eq!(
        verdict(json!({"nbf": in_seconds(600)})),
        "the token isn't valid yet: its nbf is in the future"
    );
    assert_eq!(verdict(json!({"aud": "another"})), "the token's aud isn't this service");
    for sub in ["", "a\u{0}b", "a\nb", &"x".repeat(256)] {
        let words = "the token's sub must be 1 to 255 bytes without control characters";
        assert_eq!(verdict(json!({"sub": sub})), words);
    }
}

#[test]
fn an_audience_is_required_where_one_is_set() {
    let config = AuthConfig {
        audience: Some("daybook-eu".to_owned()),
        ..hs256()
    };
    let token = mint(&hs256(), &NewToken::new("ada"), TimeDelta::hours(1)).unwrap();
    assert_eq!(
        verify(&config, &token).unwrap_err().to_string(),
        "the token has no usable aud claim"
    );
}

#[test]
fn an_actor_has_the_tokens_issuer_by_default_and_nobody_impersonates_themselves() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let acting = |act: Value| {
        let claims = json!({"exp": in_seconds(60), "iss": "daybook", "sub": "ada", "act": act});
        verify(&hs256(), &signed(&Header::default(), &claims, &key))
            .unwrap()
            .acting
    };
    assert_eq!(acting(json!({"sub": "bo"})).unwrap().issuer, "daybook");
    assert_eq!(
        acting(json!({"sub": "bo", "iss": "desk", "act": {"sub": "cy"}}))
            .unwrap()
            .issuer,
        "desk"
    );
    assert_eq!(acting(json!({"sub": "ada"})), None);
}

#[test]
fn the_key_fixes_the_algorithm() {
    let claims = json!({"exp": in_seconds(60), "iss": "daybook", "sub": "ada"});
    // The classic attack: using the public key, which everybody knows, as an HMAC secret.
    let public = PublicKey::from_pem(PUBLIC_PEM).unwrap();
    let es256 = AuthConfig {
        key: Some(JwtKey::Public(public)),
        ..hs256()
    };
    let confused = signed(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(PUBLIC_PEM.as_bytes()),
    );
    let words = "the token's algorithm isn't ES256, which this service takes";
    assert_eq!(verify(&es256, &confused).unwrap_err().to_string(), words);

    let honest = signed(
        &Header::new(Algorithm::ES256),
        &claims,
        &EncodingKey::from_ec_pem(PRIVATE_PEM.as_bytes()).unwrap(),
    );
    assert_eq!(verify(&es256, &honest).unwrap().subject, "ada");

    let hs512 = signed(
        &Header::new(Algorithm::HS512),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    );
    assert!(verify(&hs256(), &hs512).is_err());
    // {"alg":"none"} with the same claims and no signature.
    let none = format!("eyJhbGciOiJub25lIn0.{}.", honest.split('.').nth(1).unwrap());
    assert_eq!(
        verify(&hs256(), &none).unwrap_err().to_string(),
        "the token can't be read as a JWT"
    );
    assert!(mint(&es256, &NewToken::new("ada"), TimeDelta::hours(1)).is_err());
}

#[test]
fn foreign_signatures_and_critical_headers_are_refused() {
    let claims = json!({"exp": in_seconds(60), "iss": "daybook", "sub": "ada"});
    let foreign = signed(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(b"another secret"),
    );
    assert_eq!(
        verify(&hs256(), &foreign).unwrap_err().to_string(),
        "the token's signature is not valid"
    );
    let header = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..Header::default()
    };
    let critical = signed(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes()));
    assert!(
        verify(&hs256(), &critical)
            .unwrap_err()
            .to_string()
            .contains("critical")
    );
    assert_eq!(
        verify(&hs256(), "gibberish").unwrap_err().to_string(),
        "the token can't be read as a JWT"
    );
}

#[test]
fn lifetimes_must_be_above_zero() {
    for ttl in [TimeDelta::zero(), TimeDelta::seconds(-1), TimeDelta::MAX] {
        assert!(mint(&hs256(), &NewToken::new("ada"), ttl).is_err());
    }
    assert!(mint(&hs256(), &NewToken::new(""), TimeDelta::hours(1)).is_err());
}

// A key pair for these tests only, from `openssl genpkey -algorithm EC`.
const PUBLIC_PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECglIDRfqUXVFeC+topjzVjcB2+Hd
H15vwT7tv/cMt0oROs+v88ii+0O9tuODp0ZNQdvyQIfeVeFtNzWxabh+PQ==
-----END PUBLIC KEY-----
";
const PRIVATE_PEM: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbw586Scsmk3lc0sm
9EJMiWbF7WpjaYVl7dKmWCeHN3+hRANCAAQKCUgNF+pRdUV4L62imPNWNwHb4d0f
Xm/BPu2/9wy3ShE6z6/zyKL7Q72244OnRk1B2/JAh95V4W03NbFpuH49
-----END PRIVATE KEY-----
";
