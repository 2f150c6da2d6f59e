use super::*;

fn default_detectors() -> Detectors {
    let mut detectors = Detectors::default();
    for detector in Detector::ALL {
        detectors.set(detector, Some(detector.default_treatment()));
    }
    detectors
}

fn redact(text: &str) -> Option<String> {
    default_detectors().redact(text, None)
}

#[test]
fn secrets_are_found_anywhere_in_a_text() {
    for (text, left) in [
        ("ada@example.com", "a***@e***.com"),
        (
            "to <ada@example.com>, ada@mail.example.org",
            "to <a***@e***.com>, a***@m***.e***.org",
        ),
        ("/people/ada%40example.com/x", "/people/a***@e***.com/x"),
        ("4111111111111111", "4***1111"),
        ("card 4111-1111-1111-1111.", "card 4***1111."),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer [REDACTED]"),
        ("basic dXNlcjpwYXNz", "basic [REDACTED]"),
        ("t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl", "t=[REDACTED]"),
        ("from 203.0.113.7:4000", "from 203.0.113.***:4000"),
        ("from [2001:db8::7]:4000", "from [2001:db8:***]:4000"),
        ("/hosts/10.1.2.3", "/hosts/10.1.2.***"),
        ("addr:203.0.113.7", "addr:203.0.113.***"),
        ("::ffff:203.0.113.7", "203.0.113.***"),
        ("4111 1111 1111 1111 12/27", "4***1111 12/27"),
        ("4111111111111111 123", "4***1111 123"),
        ("2 4111111111111111", "2 4***1111"),
        ("card-4111111111111111", "card-4***1111"),
        ("next=/login?password=X&a=1", "next=/login?password=[REDACTED]&a=1"),
        ("https://x/?access_token=X y", "https://x/?access_token=[REDACTED] y"),
        ("Bearer:abcdefgh1234", "Bearer:[REDACTED]"),
        ("Bearer 12|abcdef", "Bearer [REDACTED]"),
        ("ada@münchen.de", "a***@m***.de"),
        ("/d/ada%40example%2ecom", "/d/a***@e***.com"),
        ("ada%2540example.com", "a***@e***.com"),
        ("/x/4111%201111%201111%201111", "/x/4***1111"),
        ("10.1.2.3 10.1.2.4,10.1.2.5", "10.1.2.*** 10.1.2.***,10.1.2.***"),
        (
            "/x/dbk_0123456789ab_0123456789012345678901234567890123456789/y",
            "/x/dbk_0123456789ab_[REDACTED]/y",
        ),
        ("mydbk_0123456789ab_abcdefgh", "mydbk_0123456789ab_[REDACTED]"),
        ("dbk_01234567890123456789012345678901", "dbk_[REDACTED]"),
        ("/x/dbk%5F0123456789ab%5F0123456789", "/x/dbk_0123456789ab_[REDACTED]"),
        ("whatever=dbt_A-0_456789abcdefghij", "whatever=dbt_[REDACTED]"),
        ("Bearer dbk_0123456789ab_0123456789", "Bearer [REDACTED]"),
        ("/cb?code=X1&state=2", "/cb?code=[REDACTED]&state=2"),
        (
            "https://x/?a=1&key=X&sig=Y#session=Z",
            "https://x/?a=1&key=[REDACTED]&sig=[REDACTED]#session=[REDACTED]",
        ),
        (
            r#"got {"refresh_token": "X", "a": 1}"#,
            r#"got {"refresh_token": "[REDACTED]", "a": 1}"#,
        ),
        (
            "postgres://ada:hunter2@db.example.com/x",
            "postgres://ada:[REDACTED]@db.example.com/x",
        ),
        ("amqp://ada:hun@ter2@mq:5672", "amqp://ada:[REDACTED]@mq:5672"),
        ("redis://:hunter2@cache", "redis://:[REDACTED]@cache"),
        (
            "https://0123456789abcdefghij@git.example",
            "https://[REDACTED]@git.example",
        ),
        (
            "next=postgres%3A%2F%2Fada%3Ahunter2%40db",
            "next=postgres://ada:[REDACTED]@db",
        ),
        ("AKIAIOSFODNN7EXAMPLE in us-east-1", "[REDACTED] in us-east-1"),
        ("key ASIAIOSFODNN7EXAMPLE", "key [REDACTED]"),
        ("ghp_0123456789abcdefghij0123456789abcdef", "[REDACTED]"),
        ("github_pat_0123456789abcdefghij_x", "[REDACTED]"),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "[REDACTED]"),
        ("xoxb-0123456789-abcdef", "[REDACTED]"),
        ("sk_live_0123456789abcdef", "[REDACTED]"),
        ("sk-ant-0123456789abcdefghijkl", "[REDACTED]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----[REDACTED]-----END RSA PRIVATE KEY-----",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIE",
            "-----BEGIN PRIVATE KEY-----[REDACTED]",
        ),
        ("cut eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEi", "cut [REDACTED]"),
        // One match in the text itself and one in its decoded form.
        (
            "ada@example.com dbk%5F0123456789ab%5F0123456789",
            "a***@e***.com dbk_0123456789ab_[REDACTED]",
        ),
    ] {
        assert_eq!(redact(text).as_deref().unwrap_or(text), left);
    }
}

#[test]
fn similar_texts_are_left_unchanged() {
    for text in [
        "",
        "plain words and 42 numbers",
        "/v1/teams/019a9f51-3f4e-7b1c-8d0e-0123456789ab/threads",
        "4111111111111112",
        "1700000000000",
        "2026-11-21T06:13:23.123Z",
        "12:30:45",
        "version 1.2.3",
        "999.1.2.3",
        "a@b",
        "eyJ.x.y",
        "the bearer of this",
        "::",
        "Firefox/120.0.0.0",
        "2026-11-21 06:13",
        "unexpected token: x",
        "100%",
        "daybook::events::emit",
        "status code=500",
        "the key=value form",
        "api_keys_pkey",
        "dbk_ is what keys begin with",
        "AKIA is not enough",
        "https://example.com/@ada",
        "task-0123456789abcdef",
        "PRIVATE KEY",
    ] {
        assert_eq!(redact(text), None, "{text}");
    }
}

#[test]
fn numbers_can_be_cards_and_each_detector_can_be_turned_off() {
    let mut detectors = default_detectors();
    assert_eq!(
        detectors.of_number(&4_111_111_111_111_111_u64.into()),
        Some(Treatment::Mask)
    );
    assert_eq!(detectors.of_number(&1_700_000_000_000_u64.into()), None);
    assert_eq!(detectors.of_number(&7.into()), None);
    detectors.set(Detector::Email, None);
    assert_eq!(detectors.redact("ada@example.com", None), None);
    detectors.set(Detector::Email, Some(Treatment::Hash));
    assert_eq!(detectors.redact("ada@example.com", None).as_deref(), Some("[REDACTED]"));
    let key = HashKey::new("k", &[7; 32]).unwrap();
    let hashed = detectors.redact("ada@example.com", Some(&key)).unwrap();
    assert!(hashed.starts_with("hmac-sha256:k:"), "{hashed}");
}
