//! A load test with two processes of the service on one database, writers at full speed, clients that disconnect and
//! reconnect at random, and connections that are cut. One of the processes ignores the signals of the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use daybook::tenancy::Role;
use daybook_tests::http::{Client, ISSUER, SECRET, TestApp};
use daybook_tests::live::LiveClient;
use daybook_tests::soak;
use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::cli::harness::{Folder, Service};

const WRITERS: usize = 4;
const THREADS_PER_WRITER: usize = 25;
const CLIENTS: u64 = 12;
const THREADS_PER_CLIENT: usize = 12;

/// Maximum time without progress for a writer or a reader.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(120);

/// The ids of a campaign and its thread.
type Object = (String, String);

fn service(folder: &Folder, app: &TestApp, listen: &str) -> Service {
    let mut command: Command = folder.command(&["serve"]);
    command
        .env("DATABASE_URL", app.db.owner_options().to_url_lossy().as_str())
        .env("DAYBOOK_JWT_SECRET", SECRET)
        .env("DAYBOOK_JWT_ISSUER", ISSUER)
        .env("DAYBOOK_LISTEN", listen);
    Service::start_command(folder, command)
}

/// Changes the campaigns round by round. A round whose outcome is unknown is sent again; it makes no second change.
async fn write(ada: Client, objects: Vec<Object>, rounds: i64) {
    let ids: Vec<_> = objects.iter().map(|(campaign, _)| campaign).collect();
    for round in 1..=rounds {
        let body = json!({"ids": ids, "changes": {"budget": (1_000 + round).to_string()}});
        let began = Instant::now();
        while !ada.patch("/campaigns", body.clone()).await.status.is_success() {
            assert!(began.elapsed() < PROGRESS_TIMEOUT, "round {round} is not answered");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Follows some threads to their ends, disconnects now and then, and counts the received messages.
async fn read(
    seed: u64,
    addresses: [SocketAddr; 2],
    grace: Client,
    threads: Vec<String>,
    rounds: i64,
) -> (usize, usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut has: BTreeMap<String, i64> = threads.into_iter().map(|thread| (thread, 0)).collect();
    let (mut messages, mut visits) = (0, 0);
    let mut last_progress = Instant::now();
    while has.values().any(|seq| *seq < rounds + 1) {
        assert!(
            last_progress.elapsed() < PROGRESS_TIMEOUT,
            "still waiting for messages: {has:?}"
        );
        let address = *addresses.choose(&mut rng).unwrap();
        let request = LiveClient::request(address, &grace, "");
        // The database may refuse the service's connections at this moment.
        let Ok(mut live) = LiveClient::try_connect(address, request).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        visits += 1;
        for (thread, seq) in &has {
            live.send(json!({"type": "subscribe", "topic": format!("thread:{thread}"), "seq": seq}))
                .await;
        }
        let stay = rng.random_range(1..soak(20, 150));
        for _ in 0..stay {
            if has.values().all(|seq| *seq == rounds + 1) {
                break;
            }
            let frame = match timeout(daybook_tests::WAIT_LIMIT, live.0.next())
                .await
                .expect("a frame arrives")
            {
                Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text).unwrap(),
                Some(Ok(Message::Ping(_))) => continue,
                other => panic!("{other:?}"),
            };
            match frame["type"].as_str() {
                Some("subscribed") => continue,
                Some("thread-messages:created") => {}
                _ => panic!("{frame}"),
            }
            let seq = has
                .get_mut(frame["thread"]["id"].as_str().unwrap())
                .expect("only followed threads are sent");
            for message in frame["messages"].as_array().unwrap() {
                assert_eq!(message["seq"], *seq + 1, "each message arrives once and in order");
                *seq += 1;
                messages += 1;
                last_progress = Instant::now();
            }
        }
    }
    (messages, visits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_missed_or_repeated_under_load_and_faults() {
    // The number of times that each writer changes all its campaigns, each time in one transaction.
    let rounds = soak(40, 1_000);
    let cut_interval = soak(Duration::from_millis(500), Duration::from_secs(3));
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Viewer).await;
    let mut objects: Vec<Object> = Vec::new();
    for i in 0..WRITERS * THREADS_PER_WRITER {
        let (campaign, thread) = ada.campaign_with_thread(&format!("Campaign {i}")).await;
        objects.push((campaign.id, thread.trim_start_matches("/threads/").to_owned()));
    }
    let folders = (Folder::new(), Folder::new());
    let (listening, ignoring) = (service(&folders.0, &app, "on"), service(&folders.1, &app, "off"));
    let addresses = [listening.address.parse().unwrap(), ignoring.address.parse().unwrap()];

    let mut readers = JoinSet::new();
    for seed in 0..CLIENTS {
        let mut rng = StdRng::seed_from_u64(seed);
        let threads = objects
            .choose_multiple(&mut rng, THREADS_PER_CLIENT)
            .map(|(_, thread)| thread.clone())
            .collect();
        readers.spawn(read(seed, addresses, grace.clone(), threads, rounds));
    }
    let mut writers = JoinSet::new();
    for objects in objects.chunks(THREADS_PER_WRITER) {
        writers.spawn(write(ada.clone(), objects.to_vec(), rounds));
    }
    let writing = Arc::new(AtomicBool::new(true));
    let cutter = tokio::spawn({
        let (db, writing) = (app.db.clone(), writing.clone());
        async move {
            let mut owner = db.owner().await;
            let mut cuts = 0;
            while writing.load(Ordering::Relaxed) {
                tokio::time::sleep(cut_interval).await;
                owner
                    .execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE datname = current_database() AND application_name LIKE 'daybook%'
                             AND pid <> pg_backend_pid()",
                    )
                    .await
                    .unwrap();
                cuts += 1;
            }
            cuts
        }
    });
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    writing.store(false, Ordering::Relaxed);
    let cuts = cutter.await.unwrap();
    let (mut messages, mut visits) = (0, 0);
    while let Some(read) = readers.join_next().await {
        let (read, came) = read.unwrap();
        messages += read;
        visits += came;
    }
    let written = objects.len() * usize::try_from(rounds + 1).unwrap();
    eprintln!("{written} messages written, {messages} received in {visits} visits, connections cut {cuts} times");
    assert!(cuts > 0 && visits > 2 * usize::try_from(CLIENTS).unwrap());
    assert_eq!(
        messages,
        usize::try_from(CLIENTS).unwrap() * THREADS_PER_CLIENT * usize::try_from(rounds + 1).unwrap()
    );
}
