//! Tests of several processes on one database. One process writes each log; the others redirect to it, or take the log
//! over.

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, ServiceFixture, free_port};

#[tokio::test]
async fn a_second_process_redirects_to_the_log_and_takes_it_over_from_a_dead_process() {
    let fixture = ServiceFixture::new().await;
    let (one, two) = (free_port(), free_port());
    let first = fixture.serve(one).await;
    let second = fixture.serve(two).await;
    let run = fixture.run(one, json!({"name": "import"})).await;
    assert_eq!(fixture.send(fixture.line(one, run, 1)).await.unwrap().0, StatusCode::OK);

    // The second process doesn't write, read or end it, but redirects to the first.
    let events = format!("/runs/{run}/events");
    for request in [
        fixture.line(two, run, 2),
        fixture.request(two, Method::GET, &format!("{events}?after_sequence=2")),
        fixture.request(two, Method::POST, &format!("/runs/{run}/cancel")),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        assert!(
            location.starts_with(&format!("http://127.0.0.1:{one}/v1/teams/")),
            "{location}"
        );
    }
    // Data in the database is the same in every process.
    let (status, known) = fixture
        .send_request(two, Method::GET, &format!("/runs/{run}"))
        .await
        .unwrap();
    assert_eq!((status, &known["status"]), (StatusCode::OK, &json!("running")));

    // A paused process is not dead: it still holds its lock.
    first.signal(Signal::SIGSTOP);
    let answer = fixture.line(two, run, 2).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    first.signal(Signal::SIGCONT);

    first.kill().await;
    let (status, answer) = fixture.send(fixture.line(two, run, 2)).await.unwrap();
    assert_eq!(
        (status, &answer["last_sequence"]),
        (StatusCode::OK, &json!(4)),
        "{answer}"
    );
    // The new process also recognises lines that were sent before.
    let (_, again) = fixture.send(fixture.line(two, run, 1)).await.unwrap();
    assert_eq!((&again["appended"], &again["duplicates"]), (&json!(0), &json!(1)));
    let end = json!({"status": "succeeded"});
    assert_eq!(
        fixture
            .post(two, &format!("/runs/{run}/complete"), &end)
            .await
            .unwrap()
            .0,
        StatusCode::OK
    );
    // A closed log can be read by any process with the folder.
    let third = fixture.serve(one).await;
    assert_eq!(fixture.log(one, run).await.len(), 5);
    third.stop().await;
    second.stop().await;
    let left = std::fs::read_dir(fixture.storage.path().join("wal")).unwrap().count();
    assert_eq!(left, 0, "a process that stops in order leaves no files");
}

#[tokio::test]
async fn a_process_without_the_folder_does_not_take_the_log_over_before_the_lease_ends() {
    let fixture = ServiceFixture::new().await;
    let elsewhere = TempDir::new().unwrap();
    let (one, two) = (free_port(), free_port());
    let first = fixture.serve(one).await;
    let second = Service::start(fixture.command(two, elsewhere.path()), two).await;
    let run = fixture.run(one, json!({"name": "import"})).await;
    assert_eq!(fixture.send(fixture.line(one, run, 1)).await.unwrap().0, StatusCode::OK);
    first.kill().await;
    // The second process has no proof that the first one is dead.
    let answer = fixture.line(two, run, 2).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    // The first process comes back with its folder, and no line is missing.
    let again = fixture.serve(one).await;
    assert_eq!(fixture.send(fixture.line(one, run, 2)).await.unwrap().0, StatusCode::OK);
    let sequences: Vec<_> = fixture
        .log(one, run)
        .await
        .iter()
        .map(|line| line["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
    again.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_stopping_process_ends_its_streams_and_readers_resume_at_the_next() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let events = format!("/runs/{run}/events");
    let open = async || {
        let request = fixture
            .request(port, Method::GET, &events)
            .header("accept", "text/event-stream");
        request.send().await.unwrap()
    };
    let mut reader = open().await;
    assert!(reader.chunk().await.unwrap().is_some());
    assert_eq!(
        fixture.send(fixture.line(port, run, 1)).await.unwrap().0,
        StatusCode::OK
    );
    service.stop().await;
    // The stream ends without an error.
    let mut rest = Vec::new();
    while let Some(chunk) = reader.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains("id: 3\n") && !rest.contains("event: end"), "{rest}");
    let service = fixture.serve(port).await;
    let end: (StatusCode, Value) = fixture
        .post(port, &format!("/runs/{run}/cancel"), &json!({}))
        .await
        .unwrap();
    assert_eq!(end.0, StatusCode::OK);
    let text = open().await.text().await.unwrap();
    assert!(
        text.contains("id: 4\n") && text.ends_with("event: end\ndata: {}\n\n"),
        "{text}"
    );
    service.stop().await;
}

/// The process of a run is dead, and the run has moved to another process.
#[tokio::test]
async fn a_dead_processs_remaining_lines_are_not_written_into_the_log_of_a_run_that_moved() {
    let fixture = ServiceFixture::new().await;
    let (one, two) = (free_port(), free_port());
    let first = fixture.serve(one).await;
    let run = fixture.run(one, json!({"name": "import"})).await;
    assert_eq!(fixture.send(fixture.line(one, run, 1)).await.unwrap().0, StatusCode::OK);
    first.kill().await;
    sqlx::query("UPDATE runs SET home = gen_random_uuid()")
        .execute(&mut fixture.team.connection().await)
        .await
        .unwrap();
    let logs = format!("workspaces/{}/runs/{run}/logs/events.ndjson", fixture.team.id);
    let file = fixture.storage.path().join(logs);
    let mut moved = std::fs::read(&file).unwrap();
    moved.extend_from_slice(b"{\"what\":\"the other process wrote\"}\n");
    std::fs::write(&file, &moved).unwrap();
    let homes = || std::fs::read_dir(fixture.storage.path().join("wal")).unwrap().count();
    assert_eq!(homes(), 1);
    let second = fixture.serve(two).await;
    let other = fixture.run(two, json!({"name": "other"})).await;
    assert_eq!(
        fixture.send(fixture.line(two, other, 1)).await.unwrap().0,
        StatusCode::OK
    );
    // Only the second process's own folder is left.
    daybook_tests::eventually("the cleanup of the first process's folder", async || homes() == 1).await;
    assert_eq!(std::fs::read(&file).unwrap(), moved);
    second.stop().await;
}

#[tokio::test]
async fn a_process_without_the_folder_does_not_start_a_new_log() {
    let fixture = ServiceFixture::new().await;
    let elsewhere = TempDir::new().unwrap();
    let (one, two) = (free_port(), free_port());
    let first = fixture.serve(one).await;
    let run = fixture.run(one, json!({"name": "import"})).await;
    assert_eq!(fixture.send(fixture.line(one, run, 1)).await.unwrap().0, StatusCode::OK);
    first.kill().await;
    sqlx::query("UPDATE run_homes SET renewed_at = now() - interval '1 hour'")
        .execute(&mut fixture.team.connection().await)
        .await
        .unwrap();
    let second = Service::start(fixture.command(two, elsewhere.path()), two).await;
    let (status, problem) = fixture.send(fixture.line(two, run, 2)).await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("a process that is gone"),
        "{problem}"
    );
    second.stop().await;
}
