//! Several processes on one database: each log has one of them, and others say where, or take it over.

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Place, Service, free_port};

#[tokio::test]
async fn a_second_process_says_where_the_log_is_and_takes_it_over_from_the_dead() {
    let place = Place::new().await;
    let (one, two) = (free_port(), free_port());
    let first = place.serve(one).await;
    let second = place.serve(two).await;
    let run = place.run(one, json!({"name": "import"})).await;
    assert_eq!(place.send(place.line(one, run, 1)).await.unwrap().0, StatusCode::OK);

    // Not written, not read, not ended there; but sent on.
    let events = format!("/runs/{run}/events");
    for request in [
        place.line(two, run, 2),
        place.request(two, Method::GET, &format!("{events}?after_sequence=2")),
        place.request(two, Method::POST, &format!("/runs/{run}/cancel")),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        assert!(
            location.starts_with(&format!("http://127.0.0.1:{one}/v1/teams/")),
            "{location}"
        );
    }
    // What the database knows is everywhere the same.
    let (status, known) = place.ask(two, Method::GET, &format!("/runs/{run}")).await.unwrap();
    assert_eq!((status, &known["status"]), (StatusCode::OK, &json!("running")));

    // A process that is stopped is not dead: its lock says so.
    first.signal(Signal::SIGSTOP);
    let answer = place.line(two, run, 2).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    first.signal(Signal::SIGCONT);

    first.kill().await;
    let (status, answer) = place.send(place.line(two, run, 2)).await.unwrap();
    assert_eq!(
        (status, &answer["last_sequence"]),
        (StatusCode::OK, &json!(4)),
        "{answer}"
    );
    // What was sent before is known there, too.
    let (_, again) = place.send(place.line(two, run, 1)).await.unwrap();
    assert_eq!((&again["appended"], &again["duplicates"]), (&json!(0), &json!(1)));
    let end = json!({"status": "succeeded"});
    assert_eq!(
        place.post(two, &format!("/runs/{run}/complete"), &end).await.unwrap().0,
        StatusCode::OK
    );
    // A log that is closed is read by anybody who has the folder.
    let third = place.serve(one).await;
    assert_eq!(place.log(one, run).await.len(), 5);
    third.stop().await;
    second.stop().await;
    let left = std::fs::read_dir(place.storage.path().join("wal")).unwrap().count();
    assert_eq!(left, 0, "who leaves in order leaves nothing behind");
}

#[tokio::test]
async fn a_process_without_the_folder_does_not_take_the_log_over_before_the_lease_ends() {
    let place = Place::new().await;
    let elsewhere = TempDir::new().unwrap();
    let (one, two) = (free_port(), free_port());
    let first = place.serve(one).await;
    let second = Service::of(place.command(two, elsewhere.path()), two).await;
    let run = place.run(one, json!({"name": "import"})).await;
    assert_eq!(place.send(place.line(one, run, 1)).await.unwrap().0, StatusCode::OK);
    first.kill().await;
    // For all that it knows the first one lives.
    let answer = place.line(two, run, 2).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    // It comes back, with the folder: nothing is missing.
    let again = place.serve(one).await;
    assert_eq!(place.send(place.line(one, run, 2)).await.unwrap().0, StatusCode::OK);
    let sequences: Vec<_> = place
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
async fn who_stops_lets_readers_go_and_they_read_on_at_the_next() {
    let place = Place::new().await;
    let port = free_port();
    let service = place.serve(port).await;
    let run = place.run(port, json!({"name": "import"})).await;
    let events = format!("/runs/{run}/events");
    let open = async || {
        let request = place
            .request(port, Method::GET, &events)
            .header("accept", "text/event-stream");
        request.send().await.unwrap()
    };
    let mut reader = open().await;
    assert!(reader.chunk().await.unwrap().is_some());
    assert_eq!(place.send(place.line(port, run, 1)).await.unwrap().0, StatusCode::OK);
    service.stop().await;
    // To its end, not to an error.
    let mut rest = Vec::new();
    while let Some(chunk) = reader.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains("id: 3\n") && !rest.contains("event: end"), "{rest}");
    let service = place.serve(port).await;
    let end: (StatusCode, Value) = place
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

/// A run of a dead process, which another writer node has acquired since.
#[tokio::test]
async fn what_a_dead_process_left_of_a_run_that_has_moved_is_not_written_into_its_file() {
    let place = Place::new().await;
    let (one, two) = (free_port(), free_port());
    let first = place.serve(one).await;
    let run = place.run(one, json!({"name": "import"})).await;
    assert_eq!(place.send(place.line(one, run, 1)).await.unwrap().0, StatusCode::OK);
    first.kill().await;
    sqlx::query("UPDATE runs SET home = gen_random_uuid()")
        .execute(&mut place.team.connection().await)
        .await
        .unwrap();
    let logs = format!("workspaces/{}/runs/{run}/logs/events.ndjson", place.team.id);
    let file = place.storage.path().join(logs);
    let mut moved = std::fs::read(&file).unwrap();
    moved.extend_from_slice(b"{\"what\":\"the other process wrote\"}\n");
    std::fs::write(&file, &moved).unwrap();
    let homes = || std::fs::read_dir(place.storage.path().join("wal")).unwrap().count();
    assert_eq!(homes(), 1);
    let second = place.serve(two).await;
    let other = place.run(two, json!({"name": "other"})).await;
    assert_eq!(place.send(place.line(two, other, 1)).await.unwrap().0, StatusCode::OK);
    // The second one's own is there, and nothing of the first.
    daybook_tests::eventually("the end of what was left", async || homes() == 1).await;
    assert_eq!(std::fs::read(&file).unwrap(), moved);
    second.stop().await;
}

#[tokio::test]
async fn a_process_without_the_folder_does_not_begin_a_log_again_that_is_elsewhere() {
    let place = Place::new().await;
    let elsewhere = TempDir::new().unwrap();
    let (one, two) = (free_port(), free_port());
    let first = place.serve(one).await;
    let run = place.run(one, json!({"name": "import"})).await;
    assert_eq!(place.send(place.line(one, run, 1)).await.unwrap().0, StatusCode::OK);
    first.kill().await;
    sqlx::query("UPDATE run_homes SET renewed_at = now() - interval '1 hour'")
        .execute(&mut place.team.connection().await)
        .await
        .unwrap();
    let second = Service::of(place.command(two, elsewhere.path()), two).await;
    let (status, problem) = place.send(place.line(two, run, 2)).await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("a process that is gone"),
        "{problem}"
    );
    second.stop().await;
}
