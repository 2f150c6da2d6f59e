//! Tests of a program's output from `daybook exec` to `daybook runs log`: it is not changed, and no secrets are
//! revealed.

use std::process::Stdio;

use daybook_tests::WAIT_LIMIT;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use super::exec::{exec, newest_run, output, words};
use super::process::{ServiceFixture, free_port};

/// Returns another command of `daybook`, for the same service.
fn command(fixture: &ServiceFixture, port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybook-under-test"));
    fixture.set_environment(&mut command, port, fixture.storage.path());
    command
        .env("DAYBOOK_URL", format!("http://127.0.0.1:{port}"))
        .env("DAYBOOK_TOKEN", &fixture.token)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Returns the pieces of a run's stdout: the text, and whether the line continues.
async fn pieces(fixture: &ServiceFixture, port: u16, run: &Value) -> Vec<(String, bool)> {
    let id: Uuid = run["id"].as_str().unwrap().parse().unwrap();
    let log = fixture.log(port, id).await;
    let payloads = log.iter().map(|line| &line["payload"]);
    payloads
        .filter(|payload| payload["stream"] == "stdout")
        .map(|payload| {
            (
                payload["message"].as_str().unwrap().to_owned(),
                payload["partial"] == true,
            )
        })
        .collect()
}

fn joined(pieces: &[(String, bool)]) -> String {
    let text = |(text, partial): &(String, bool)| format!("{text}{}", if *partial { "" } else { "\n" });
    pieces.iter().map(text).collect()
}

#[tokio::test]
async fn partial_lines_are_logged_and_printed_as_the_program_wrote_them() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let gate = fixture.storage.path().join("gate");
    // A slow progress bar, a character in two parts, a long line, and a line without an end. Each part waits until the
    // log has the previous one.
    let script = format!(
        "wait_for() {{ while [ ! -e '{gate}'$1 ]; do sleep 0.02; done; }}
         printf '10%%\\r'; wait_for 1; printf '20%%\\r'; wait_for 2; printf 'done\\r\\n'
         printf 'x\\342\\202'; wait_for 3; printf '\\254\\n'
         for i in $(seq 1 60000); do printf '€€€€€'; done; printf '\\nno end'",
        gate = gate.display()
    );
    let running = exec(&fixture, port, &["--", "sh", "-c", &script]).spawn().unwrap();
    for (number, expected) in [(1, "10%\r"), (2, "10%\r20%\r"), (3, "10%\r20%\rdone\r\nx")] {
        daybook_tests::eventually(expected, async || {
            let run = newest_run(&fixture, port).await;
            run["status"] == "running" && joined(&pieces(&fixture, port, &run).await) == expected
        })
        .await;
        std::fs::write(format!("{}{number}", gate.display()), "").unwrap();
    }
    let done = running.wait_with_output().await.unwrap();
    let printed = String::from_utf8(done.stdout).unwrap();
    assert_eq!(
        printed,
        format!("10%\r20%\rdone\r\nx€\n{}\nno end", "€".repeat(300_000))
    );
    let run = newest_run(&fixture, port).await;
    let logged = pieces(&fixture, port, &run).await;
    assert!(joined(&logged) == printed, "{} pieces", logged.len());
    assert!(logged.len() < 30, "{} pieces", logged.len());
    assert_eq!(logged.last().unwrap(), &("no end".to_owned(), true));

    let id = run["id"].as_str().unwrap();
    let raw = output(command(&fixture, port, &["runs", "log", id, "--raw"])).await;
    assert!(raw.status.success(), "{}", words(&raw.stderr));
    assert!(raw.stdout == printed.as_bytes());
    let text = words(&output(command(&fixture, port, &["runs", "log", id])).await.stdout);
    let lines: Vec<_> = text.lines().map(|line| line.get(9..).unwrap_or_default()).collect();
    assert_eq!(lines[2..4], ["10%\\r20%\\rdone", "x€"]);
    assert!(lines[4] == "€".repeat(300_000));
    assert_eq!(lines[5], "no end");
    assert!(lines[6].starts_with("run.completed"), "{}", lines[6]);
    service.stop().await;
}

#[tokio::test]
async fn a_runs_name_and_a_programs_environment_contain_no_secrets() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let script = "env | grep -E '^(DAYBOOK_|DATABASE_URL|OTHER)' | cut -d= -f1 | sort";
    let mut command = exec(&fixture, port, &["--", "sh", "-c", script, "--password=hunter2"]);
    for name in [
        "DAYBOOK_REDACTION_KEY",
        "DAYBOOK_APP_URL",
        "DAYBOOK_WORKER_URL",
        "DAYBOOK_DIRECT_URL",
    ] {
        let value = if name.ends_with("URL") {
            "postgres://a:b@db/x"
        } else {
            "0123456789abcdef"
        };
        command.env(name, value);
    }
    command.env("OTHER_TOKEN", "the program's own");
    let done = output(command).await;
    let names = words(&done.stdout);
    for kept in ["DAYBOOK_URL", "DATABASE_URL", "OTHER_TOKEN", "DAYBOOK_DATA_DIR"] {
        assert!(names.lines().any(|name| name == kept), "{kept}: {names}");
    }
    let credentials = [
        "DAYBOOK_TOKEN",
        "DAYBOOK_JWT_SECRET",
        "DAYBOOK_REDACTION_KEY",
        "DAYBOOK_APP_URL",
        "DAYBOOK_WORKER_URL",
        "DAYBOOK_DIRECT_URL",
    ];
    for credential in credentials {
        assert!(!names.lines().any(|name| name == credential), "{credential}: {names}");
    }
    assert_eq!(newest_run(&fixture, port).await["name"], "sh");
    for (command, name) in [
        (&["--", "echo", "--password=hunter2"][..], "echo"),
        (&["--", "echo", "import.py", "--token", "hunter2"], "echo import.py"),
        (&["--", "echo", "https://ada:hunter2@example.com/"], "echo"),
        (
            &["--name", "login dbk_0123456789abcdef", "--", "true"],
            "login [REDACTED]",
        ),
    ] {
        assert!(output(exec(&fixture, port, command)).await.status.success());
        assert_eq!(newest_run(&fixture, port).await["name"], name);
    }
    // The events contain no secrets either.
    let mut connection = fixture.team.connection().await;
    let kept: String = sqlx::query_scalar("SELECT string_agg(e::text, ' ') FROM events e")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(
        kept.contains("echo import.py") && !kept.contains("hunter2") && !kept.contains("dbk_"),
        "{kept}"
    );
    service.stop().await;
}

/// Names, comments and errors of the service are printed with escaped control characters by every command.
#[tokio::test]
async fn control_characters_are_printed_escaped() {
    const HOSTILE: &str = "A\u{1b}]0;owned\u{7}\nB\u{202e}C\u{9b}2J";
    const SHOWN: &str = "A\\u{1b}]0;owned\\u{7}\\nB\\u{202e}C\\u{9b}2J";
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let (status, campaign) = fixture
        .post(port, "/campaigns", &json!({"name": HOSTILE, "budget": "1"}))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::CREATED, "{campaign}");
    let object = format!("campaign/{}", campaign["id"].as_str().unwrap());
    let mut connection = fixture.team.connection().await;
    let correlation: Uuid = sqlx::query_scalar("SELECT correlation_id FROM events WHERE object_type = 'campaign'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let run = fixture.run(port, json!({"name": "import"})).await;
    let line = json!({"type": "console.line", "payload": {"stream": "stdout", "message": HOSTILE}});
    let answer = fixture.post(port, &format!("/runs/{run}/events"), &line).await.unwrap();
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    fixture.complete(port, run).await;

    let (run, correlation) = (run.to_string(), correlation.to_string());
    for arguments in [
        &["activity", "--object", "campaign"][..],
        &["story", &correlation],
        &["runs", "log", &run],
    ] {
        let done = output(command(&fixture, port, arguments)).await;
        let text = words(&done.stdout);
        assert!(done.status.success(), "{arguments:?}: {}", words(&done.stderr));
        assert!(text.contains(SHOWN), "{arguments:?}: {text:?}");
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{arguments:?}: {text:?}"
        );
    }
    // Names have no control characters, but may have others that terminals act on.
    fixture.run(port, json!({"name": "A\u{202e}B"})).await;
    let team = fixture.team.id.to_string();
    let added = [
        "user",
        "--team",
        &team,
        "add",
        "--subject",
        "bob",
        "--name",
        "A\u{202e}B",
    ];
    let done = output(command(&fixture, port, &added)).await;
    assert!(done.status.success(), "{}", words(&done.stderr));
    for arguments in [&["runs", "list"][..], &["user", "--team", &team, "list"]] {
        let done = output(command(&fixture, port, arguments)).await;
        let text = words(&done.stdout);
        assert!(
            text.contains("A\\u{202e}B") && !text.contains('\u{202e}'),
            "{arguments:?}: {text:?}"
        );
    }
    // Follows the object live, from the beginning.
    let mut tail = command(&fixture, port, &["tail", "--object", &object, "--from", "0"]);
    let mut tail = tail.spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(tail.stdout.take().unwrap()));
    let first = tokio::time::timeout(WAIT_LIMIT, lines.next_line());
    let first = first.await.expect("a line").unwrap().unwrap();
    assert!(first.contains(SHOWN), "{first:?}");
    tail.kill().await.unwrap();

    // JSON output has the exact values, with such characters escaped.
    let done = output(command(&fixture, port, &["activity", "--object", "campaign", "--json"])).await;
    let text = words(&done.stdout);
    assert!(
        !text.chars().any(|c| (c.is_control() || c == '\u{202e}') && c != '\n'),
        "{text:?}"
    );
    let event: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(event["object_label"], HOSTILE);

    // An error of the service is printed escaped, too.
    let done = output(command(&fixture, port, &["runs", "list", "--team", HOSTILE])).await;
    let text = words(&done.stderr);
    assert!(
        !done.status.success() && !text.trim_end().chars().any(char::is_control),
        "{text:?}"
    );
    service.stop().await;
}
