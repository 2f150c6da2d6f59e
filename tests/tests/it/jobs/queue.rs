//! Tests of jobs of the queue, from the transaction that enqueues them to their sessions.

use std::time::{Duration, Instant};

use daybook::assert_events;
use daybook::events::Consumers;
use daybook::prelude::*;
use daybook_tests::jobs::{Endless, JobRunner, Note, Poisoned, program, short_lost_timeout, test_worker_options};
use daybook_tests::{WAIT_LIMIT, eventually, widget};
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};
use tokio::sync::Notify;

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

async fn sessions(runner: &JobRunner) -> Vec<Value> {
    let rows = sqlx::query("SELECT to_jsonb(t) AS told FROM job_session_timelines t ORDER BY id")
        .fetch_all(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    rows.iter().map(|row| row.get("told")).collect()
}

#[tokio::test]
async fn a_job_commits_with_its_transaction_and_runs_on_behalf_of_the_requester() {
    let runner = JobRunner::start().await;
    let tx = runner.fixture.begin().await;
    tx.enqueue(note("never")).await.unwrap();
    tx.rollback().await.unwrap();
    let id = runner.enqueue(note("once")).await;
    runner.wait_for_attempts(id, &["1 succeeded"]).await;

    let timelines = sessions(&runner).await;
    let [session] = &timelines[..] else {
        panic!("{timelines:?}")
    };
    assert_eq!(
        (&session["job_name"], &session["sentence"], &session["input"]),
        (&json!("note"), &json!("Started noting once"), &json!({"text": "once"}))
    );
    assert_eq!(session["actions"][0]["sentence"], "Noted once");
    let context = &runner.fixture.ada.context;
    assert_eq!(session["correlation_id"], context.correlation_id.to_string());
    assert!(session["queue_job_id"].is_i64() && session["queued_at"].is_string());
    assert_events!(runner.fixture.team, ["CREATED widget “once”"]);
    let event = runner.fixture.team.events().await.remove(0);
    assert_eq!(event.actor.kind(), "job");
    assert_eq!(event.on_behalf_of.unwrap().id, runner.fixture.ada.user_id);
    assert_eq!(event.correlation_id, context.correlation_id);
}

#[tokio::test]
async fn a_job_reads_the_programs_own_values() {
    #[derive(Debug, Clone)]
    struct Greeting(&'static str);
    #[derive(Serialize, Deserialize)]
    struct Greet;
    #[async_trait]
    impl Job for Greet {
        const NAME: &'static str = "greet";
        async fn run(self, session: &JobSession) -> JobResult {
            let Greeting(greeting) = session.extension::<Greeting>().ok_or("the program has no Greeting")?;
            let tx = session.begin().await?;
            create_model_with_event(&tx, widget::named(greeting), Track::All).await?;
            tx.commit().await?;
            Ok(())
        }
    }
    let program = program(Consumers::none()).job::<Greet>().extension(Greeting("Hello"));
    let runner = JobRunner::start_program(program).await;
    let id = runner.enqueue(Greet).await;
    runner.wait_for_attempts(id, &["1 succeeded"]).await;
    assert_events!(runner.fixture.team, ["CREATED widget “Hello”"]);
}

#[tokio::test]
async fn idle_workers_query_rarely() {
    let runner = JobRunner::start().await;
    let id = runner.enqueue(note("once")).await;
    runner.wait_for_attempts(id, &["1 succeeded"]).await;
    let mut connection = runner.fixture.team.connection().await;
    let mut commits = async || -> i64 {
        sqlx::query_scalar("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    // Measures a rate for some seconds. Backends report their commits once a second, so earlier commits may be counted,
    // too; the limit leaves room for that.
    let (began, before) = (Instant::now(), commits().await);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let transactions = commits().await - before;
    let each_second = transactions as f64 / began.elapsed().as_secs_f64();
    // Workers that poll without a pause make thousands of transactions.
    assert!(
        transactions > 0 && each_second < 200.0,
        "{each_second} transactions a second"
    );
}

#[tokio::test]
async fn an_unregistered_or_invalid_job_is_refused_when_enqueued() {
    #[derive(Serialize, Deserialize)]
    struct Unknown;
    #[async_trait]
    impl Job for Unknown {
        const NAME: &'static str = "unknown";
        async fn run(self, _: &JobSession) -> JobResult {
            Ok(())
        }
    }
    let runner = JobRunner::without_workers(program(Consumers::none())).await;
    let tx = runner.fixture.begin().await;
    let error = tx.enqueue(Unknown).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("the job unknown is not registered"), "{why}");
    let large = note(&"x".repeat(daybook::jobs::MAX_INPUT_BYTES));
    let error = tx.enqueue(large).await.unwrap_err();
    assert!(error.to_string().contains("more than 262144"), "{error}");
    for options in [
        JobOptions::new().unique(""),
        JobOptions::new().queue("x".repeat(91)),
        JobOptions::new().max_attempts(0),
        JobOptions::new().after(Duration::MAX),
        JobOptions::new().at(chrono::DateTime::<chrono::Utc>::MAX_UTC),
    ] {
        let timelines = tx.enqueue_with(note("x"), options.clone()).await;
        assert!(
            matches!(timelines, Err(Error::Invalid(_))),
            "{options:?}: {timelines:?}"
        );
    }
    tx.commit().await.unwrap();
    assert_eq!(runner.fixture.count("job_requests").await, 0);
}

#[tokio::test]
async fn a_poisoned_job_fails_after_its_attempts_and_stays_visible() {
    let runner = JobRunner::start().await;
    let id = runner.enqueue(Poisoned).await;
    runner.wait_for_attempts(id, &["1 failed", "2 failed"]).await;
    let left = "SELECT count(*) FROM graphile_worker._private_jobs WHERE attempts < max_attempts";
    let mut owner = runner.fixture.db.owner().await;
    let left: i64 = sqlx::query_scalar(left).fetch_one(&mut owner).await.unwrap();
    assert_eq!(left, 0, "it is not retried");
    let timelines = sessions(&runner).await;
    assert_eq!(timelines.len(), 2);
    assert_eq!(timelines[1]["error"]["message"], "still poisoned");
    assert_eq!(timelines[1]["max_attempts"], 2);
}

#[tokio::test]
async fn options_set_the_time_the_order_and_the_deduplication() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let last = runner.enqueue_with(note("last"), JobOptions::new().priority(9)).await;
    let queued = |text| runner.enqueue_with(note(text), JobOptions::new().queue("one").priority(1));
    let (first, second) = (queued("1").await, queued("2").await);
    let unique = || JobOptions::new().unique("u").priority(2);
    runner.enqueue_with(note("old"), unique()).await;
    runner.enqueue_with(note("older"), unique()).await;
    let newest = runner.enqueue_with(note("newest"), unique()).await;
    let later = runner
        .enqueue_with(note("later"), JobOptions::new().after(Duration::from_secs(3_600)))
        .await;
    runner.start_workers().await;
    for id in [first, second, newest, last] {
        runner.wait_for_attempts(id, &["1 succeeded"]).await;
    }
    assert_eq!(runner.attempts(later).await, [""; 0]);
    // Of the three jobs with the same key, only the newest ran.
    let timelines = sessions(&runner).await;
    let inputs: Vec<_> = timelines
        .iter()
        .map(|session| session["input"]["text"].clone())
        .collect();
    assert_eq!(inputs.len(), 4, "{inputs:?}");
    assert!(!inputs.contains(&json!("old")) && !inputs.contains(&json!("older")));
    // The jobs of one queue ran one after the other.
    let of = |text: &str| {
        timelines
            .iter()
            .find(|session| session["input"]["text"] == text)
            .unwrap()
    };
    assert!(of("1")["finished_at"].as_str() <= of("2")["started_at"].as_str());
}

#[tokio::test]
async fn jobs_run_by_their_priority() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let tx = runner.fixture.begin().await;
    let mut last = None;
    for priority in [9, 3, 7, 1, 8, -2, 5, 0] {
        let options = JobOptions::new().priority(priority);
        last = Some(tx.enqueue_with(note(&priority.to_string()), options).await.unwrap());
    }
    // Jobs of one priority run in the order of their requests, also those of a queue.
    for text in ["first", "second"] {
        let options = JobOptions::new().priority(4);
        tx.enqueue_with(note(text), options).await.unwrap();
    }
    tx.enqueue_with(note("queued"), JobOptions::new().priority(2).queue("one"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let one_at_a_time = test_worker_options().concurrency(1);
    runner.start_workers_with(&one_at_a_time).await;
    runner.wait_for_attempts(last.unwrap(), &["1 succeeded"]).await;
    runner.wait_until_idle().await;
    let ran: Vec<String> = sessions(&runner)
        .await
        .iter()
        .map(|session| session["input"]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        ran,
        ["-2", "0", "1", "queued", "3", "first", "second", "5", "7", "8", "9"]
    );
}

#[tokio::test]
async fn many_jobs_are_enqueued_in_one_statement_and_all_run() {
    let runner = JobRunner::start().await;
    let tx = runner.fixture.begin().await;
    let before = tx.stats().round_trips();
    let jobs = (0..1_100).map(|n| note(&n.to_string())).collect();
    let ids = tx.enqueue_all::<Note>(jobs, JobOptions::new()).await.unwrap();
    assert_eq!(tx.stats().round_trips(), before + 1);
    tx.commit().await.unwrap();
    assert_eq!(ids.len(), 1_100);
    eventually("1,100 sessions that succeeded", async || {
        let mut connection = runner.fixture.team.connection().await;
        let done: i64 = sqlx::query_scalar("SELECT count(*) FROM job_sessions WHERE status = 'succeeded'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        done == 1_100
    })
    .await;
    assert_eq!(runner.fixture.count("widgets").await, 1_100);
}

#[tokio::test]
async fn a_stop_cancels_jobs_after_the_grace_period_and_they_run_again() {
    let mut runner = JobRunner::start().await;
    let id = runner.enqueue(Endless).await;
    runner.wait_for_attempts(id, &["1 running"]).await;
    runner.stop_workers().await;
    runner.wait_for_attempts(id, &["1 cancelled"]).await;
    runner.start_workers().await;
    runner.wait_for_attempts(id, &["1 cancelled", "1 running"]).await;
}

#[tokio::test]
async fn stopping_ends_though_another_session_has_locked_the_job_that_runs() {
    let mut runner = JobRunner::start().await;
    let id = runner.enqueue(Endless).await;
    runner.wait_for_attempts(id, &["1 running"]).await;
    let mut owner = runner.fixture.db.owner().await;
    let mut open = owner.begin().await.unwrap();
    sqlx::query("SELECT FROM graphile_worker._private_jobs FOR UPDATE")
        .execute(&mut *open)
        .await
        .unwrap();
    let stopped = tokio::time::timeout(WAIT_LIMIT, runner.stop_workers()).await;
    assert!(stopped.is_ok(), "stopping waits for the other session");
    open.rollback().await.unwrap();
    runner.start_workers_with(&short_lost_timeout()).await;
    runner.wait_for_attempts(id, &["1 cancelled", "1 running"]).await;
}

#[tokio::test]
async fn a_dead_workers_job_is_reported_as_lost_and_starts_again() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let id = runner.enqueue(Endless).await;
    // Workers whose runtime is shut down send no heartbeats any more.
    let dying = runner.killable_workers().await;
    runner.wait_for_attempts(id, &["1 running"]).await;
    dying.shutdown_background();
    runner.start_workers_with(&short_lost_timeout()).await;
    runner.wait_for_attempts(id, &["1 lost", "2 running"]).await;
}

#[tokio::test]
async fn a_session_outside_the_queue_without_heartbeats_is_lost() {
    let runner = JobRunner::start().await;
    let spec = SessionSpec::new("by_hand").context(runner.fixture.ada.context.clone());
    let begun = Notify::new();
    let session = with_job_session(&runner.fixture.database, spec, async |_| {
        begun.notify_one();
        std::future::pending::<JobResult>().await
    });
    tokio::select! {
        _ = session => panic!("the work never ends"),
        () = begun.notified() => {}
    }
    let mut connection = runner.fixture.team.connection().await;
    eventually("a cancelled session", async || {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM job_sessions WHERE status = 'cancelled'")
            .fetch_one(&mut connection)
            .await
            .unwrap()
            == 1
    })
    .await;
    sqlx::query(
        "UPDATE job_sessions SET status = 'running', finished_at = NULL, heartbeat_at = now() - interval '1 minute'",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    eventually("a lost session", async || {
        let lost: Option<Value> = sqlx::query_scalar("SELECT error FROM job_sessions WHERE status = 'lost'")
            .fetch_optional(&mut connection)
            .await
            .unwrap();
        lost.is_some_and(|error| error["type"] == "Lost")
    })
    .await;
}

#[tokio::test]
async fn an_input_that_no_longer_fits_the_job_fails_with_a_clear_error() {
    let runner = JobRunner::start().await;
    let id = runner
        .enqueue_with(note("x"), JobOptions::new().after(Duration::from_secs(3_600)))
        .await;
    let mut owner = runner.fixture.db.owner().await;
    eventually("the job in the queue", async || {
        let changed = sqlx::query(
            "UPDATE graphile_worker._private_jobs SET run_at = now(),
                 payload = jsonb_set(payload::jsonb, '{input}', '{\"words\": 1}')::json",
        )
        .execute(&mut owner)
        .await
        .unwrap();
        changed.rows_affected() == 1
    })
    .await;
    runner.wait_for_attempts(id, &["1 failed"]).await;
    let timelines = sessions(&runner).await;
    let message = timelines[0]["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("does not match the job note"), "{message}");
}

#[tokio::test]
async fn another_team_cannot_see_jobs() {
    let runner = JobRunner::without_workers(program(Consumers::none())).await;
    runner.enqueue(note("secret")).await;
    let other = runner.fixture.db.team("Other").await;
    let mut connection = other.connection().await;
    assert_eq!(daybook_tests::count(&mut connection, "job_requests").await, 0);
    // Even the owner, who may become the workers' role, does not see them without that role.
    let mut owner = runner.fixture.db.owner().await;
    for table in [
        "job_requests",
        "job_sessions",
        "events",
        "consumer_effects",
        "consumer_cursors",
    ] {
        assert_eq!(daybook_tests::count(&mut owner, table).await, 0, "{table}");
    }
    // The run-time role of requests has no access to the queue itself.
    let refused = daybook_tests::refusal(&mut connection, "SELECT * FROM graphile_worker.jobs").await;
    assert_eq!(refused.unwrap().0, "42501");
}

#[tokio::test]
async fn a_program_with_invalid_jobs_is_refused_when_it_starts() {
    #[derive(Serialize, Deserialize)]
    struct Shouting;
    #[async_trait]
    impl Job for Shouting {
        const NAME: &'static str = "SHOUTING";
        async fn run(self, _: &JobSession) -> JobResult {
            Ok(())
        }
    }
    let fixture = daybook_tests::TeamFixture::new().await;
    let refused = |program: daybook::App| {
        let error = program.equip(fixture.database.clone()).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    let program = || program(Consumers::none());
    assert_eq!(refused(program().job::<Note>()), "two jobs have the name note");
    assert!(refused(program().job::<Shouting>()).contains("the job name \"SHOUTING\" is invalid"));
    let nightly = daybook::App::new().scheduled_job("0 4 * *", note("x"));
    assert!(refused(nightly).contains("the schedule \"0 4 * *\" of note: has 4 fields"));
    let many = daybook::App::new().scheduled_job("0 4 * * * note\n0 5 * * *", note("x"));
    assert!(refused(many).contains("must be one line"));
    let never = daybook::App::new().scheduled_job("*/0 * * * *", note("x"));
    let why = refused(never);
    assert!(
        why.contains("the schedule \"*/0 * * * *\" of note: the minute"),
        "{why}"
    );
    for schedule in ["0 0 * * 7", "0 0 * * SUN", "@daily", "2-30/2 * * * *", "0  4 * * *"] {
        let program = daybook::App::new().scheduled_job(schedule, note("x"));
        assert!(program.equip(fixture.database.clone()).is_ok(), "{schedule}");
    }
    assert!(
        daybook::App::new()
            .scheduled_job("0 4 * * *", note("x"))
            .equip(fixture.database.clone())
            .is_ok()
    );
}

#[tokio::test]
async fn a_signal_wakes_workers_with_a_polling_interval_of_an_hour() {
    let runner = JobRunner::without_workers(program(Consumers::none())).await;
    let patient = test_worker_options().poll(Duration::from_secs(3_600));
    let workers = runner.start_other_workers(&patient).await;
    // Their first poll, which needs no signal, has ended after this.
    runner.wait_until_idle().await;
    let id = runner.enqueue(Note { text: "now".into() }).await;
    runner.wait_for_attempts(id, &["1 succeeded"]).await;
    workers.stop().await;
}
