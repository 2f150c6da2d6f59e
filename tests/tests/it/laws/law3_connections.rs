//! Law 3 at run time: however an entry or a transaction ends, nothing of it is left on the connection. The pools have
//! one connection, so that the next transaction uses the same one.

use std::time::Duration;

use daybook::error::Error;
use daybook::events::Consumers;
use daybook::tenancy::{Actor, Claim, Context, Credential, Database, Entry, Request, Role, TeamTx};
use daybook_tests::{TeamFixture, WAIT_LIMIT, drop_while_blocked, eventually, wait_for_blocked_session};
use sea_orm::ConnectionTrait;
use sqlx::{Connection, Executor, Row};
use uuid::Uuid;

async fn pool_of_one(fixture: &TeamFixture) -> Database {
    let options = fixture.db.options().max_connections(1).acquire_timeout(WAIT_LIMIT);
    fixture.db.connect(options, Consumers::none()).await
}

fn request() -> Request {
    Request {
        request_id: None,
        correlation_id: Uuid::new_v4(),
        via: None,
        reason: None,
        claim: None,
        observer: None,
    }
}

fn person(team_id: Uuid, issuer: &str, subject: &str) -> Entry {
    let credential = Credential::Person {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        acting: None,
    };
    Entry::new(team_id, credential, request())
}

async fn setting(tx: &TeamTx, name: &'static str) -> String {
    let query = sqlx::query("SELECT coalesce(current_setting($1, true), '')").bind(name);
    tx.fetch_optional(query).await.unwrap().unwrap().get(0)
}

async fn backend(tx: &TeamTx) -> i32 {
    tx.fetch_optional(sqlx::query("SELECT pg_backend_pid()"))
        .await
        .unwrap()
        .unwrap()
        .get(0)
}

/// Enters another team on the connection, and checks that nothing of the last transaction is left.
async fn assert_clean(fixture: &TeamFixture, database: &Database) {
    let other = fixture.db.team("Other").await;
    let tx = database
        .begin(&Context::system(other.id, "next"))
        .await
        .expect("the pool was poisoned");
    for name in ["daybook.user_id", "daybook.issuer", "daybook.subject", "daybook.actor"] {
        assert_eq!(setting(&tx, name).await, "", "{name} was left on the connection");
    }
    assert_eq!(setting(&tx, "daybook.team_id").await, other.id.to_string());
    tx.execute_unprepared("SELECT 1")
        .await
        .expect("the connection was left in an aborted transaction");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_non_member_learns_nothing_and_leaves_nothing() {
    let fixture = TeamFixture::new().await;
    let database = pool_of_one(&fixture).await;
    let rival = fixture.db.team("Rival").await;
    for entry in [
        fixture.ada.entry_to(rival.id),
        fixture.ada.entry_to(Uuid::now_v7()),
        person(fixture.team.id, &fixture.ada.issuer, "nobody"),
        person(fixture.team.id, "https://another.test", "ada"),
    ] {
        let refused = database.enter(&entry).await;
        assert!(
            matches!(&refused, Err(Error::NotFound { what }) if what == "team"),
            "{refused:?}"
        );
        assert_clean(&fixture, &database).await;
    }
}

#[tokio::test]
async fn a_context_whose_person_is_no_member_any_more_is_refused() {
    let fixture = TeamFixture::new().await;
    let rival = fixture.db.team("Rival").await;
    let stranger = Context {
        team_id: rival.id,
        ..fixture.ada.context.clone()
    };
    assert!(matches!(
        fixture.database.begin(&stranger).await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn an_unknown_key_leaves_nothing() {
    let fixture = TeamFixture::new().await;
    let database = pool_of_one(&fixture).await;
    let credential = Credential::ApiKey {
        prefix: "dbk_'; DROP TABLE users".to_owned(),
        secret_sha256: [0; 32],
    };
    let refused = database
        .enter(&Entry::new(fixture.team.id, credential, request()))
        .await;
    assert!(matches!(refused, Err(Error::Unauthenticated { .. })), "{refused:?}");
    assert_clean(&fixture, &database).await;
}

/// sqlx doesn't know about a transaction that it didn't begin, and would reuse the connection with the aborted one.
#[tokio::test]
async fn an_entry_that_raises_does_not_poison_the_pool() {
    let fixture = TeamFixture::new().await;
    let database = pool_of_one(&fixture).await;
    let refused = database.enter(&person(fixture.team.id, "issuer", "nul\0")).await;
    assert!(refused.is_err());
    assert_clean(&fixture, &database).await;
}

#[tokio::test]
async fn nothing_is_left_after_a_commit_a_rollback_and_a_drop() {
    let fixture = TeamFixture::new().await;
    let database = pool_of_one(&fixture).await;
    let tx = database.enter(&fixture.entry()).await.unwrap();
    let first = backend(&tx).await;
    assert_eq!(setting(&tx, "daybook.user_id").await, fixture.ada.user_id.to_string());
    tx.commit().await.unwrap();
    assert_clean(&fixture, &database).await;

    database
        .enter(&fixture.entry())
        .await
        .unwrap()
        .rollback()
        .await
        .unwrap();
    assert_clean(&fixture, &database).await;

    drop(database.enter(&fixture.entry()).await.unwrap());
    assert_clean(&fixture, &database).await;

    let tx = database.enter(&fixture.entry()).await.unwrap();
    assert_eq!(
        backend(&tx).await,
        first,
        "all steps use one connection; otherwise this proves nothing"
    );
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_statement_cancelled_midway_leaves_nothing() {
    let fixture = TeamFixture::new().await;
    let database = pool_of_one(&fixture).await;
    let tx = database.enter(&fixture.entry()).await.unwrap();
    let insert = format!(
        "INSERT INTO jottings (team_id, body) SELECT '{}', 'x' FROM pg_advisory_xact_lock(1)",
        fixture.team.id
    );
    let mut holder = fixture.db.owner().await;
    holder.execute("SELECT pg_advisory_lock(1)").await.unwrap();
    drop_while_blocked(&fixture.db, tx.execute_unprepared(&insert)).await;
    drop(tx);
    holder.close().await.unwrap();
    assert_clean(&fixture, &database).await;
    assert_eq!(fixture.count("jottings").await, 0);
}

/// A client disconnects while its request enters the team: the next request must not continue with that entry.
#[tokio::test]
async fn an_entry_cancelled_midway_leaves_nothing() {
    let fixture = TeamFixture::new().await;
    let database = pool_of_one(&fixture).await;
    let claim = |key: &str| Claim::new(key.to_owned(), [7; 32]);
    let entry = |claim| {
        let TeamFixture { ada, team, .. } = &fixture;
        let credential = Credential::Person {
            issuer: ada.issuer.clone(),
            subject: ada.subject.clone(),
            acting: None,
        };
        Entry::new(
            team.id,
            credential,
            Request {
                claim: Some(claim),
                ..request()
            },
        )
    };
    // Another transaction holds the key, so the second entry waits for it inside its statement.
    let holder = fixture.database.enter(&entry(claim("same"))).await.unwrap();
    let waiting = tokio::spawn({
        let (database, entry) = (database.clone(), entry(claim("same")));
        async move { database.enter(&entry).await.map(drop) }
    });
    wait_for_blocked_session(&fixture.db).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    holder.rollback().await.unwrap();

    assert_clean(&fixture, &database).await;
    assert_eq!(
        fixture.count("idempotency_keys").await,
        0,
        "the cancelled request's key was committed by another request's commit"
    );
}

#[tokio::test]
async fn many_cancelled_entries_leave_a_pool_that_works() {
    let fixture = TeamFixture::new().await;
    let database = pool_of_one(&fixture).await;
    for patience_us in (0..1_500).step_by(50) {
        let _ = tokio::time::timeout(Duration::from_micros(patience_us), database.enter(&fixture.entry())).await;
    }
    assert_clean(&fixture, &database).await;
}

#[tokio::test]
async fn a_reading_transaction_writes_nothing() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.database.enter(&fixture.entry().read_only()).await.unwrap();
    let sql = format!(
        "INSERT INTO jottings (team_id, body) VALUES ('{}', 'x')",
        fixture.team.id
    );
    let refused = tx.execute_unprepared(&sql).await.unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
}

#[tokio::test]
async fn a_commit_completes_even_if_its_caller_is_dropped() {
    let fixture = TeamFixture::new().await;
    // The commit waits for a lock, so that it can be cancelled while it runs.
    let waits = "CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON jottings DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION waits();
        SELECT pg_advisory_lock(1)";
    let mut holder = fixture.db.owner().await;
    holder.execute(waits).await.unwrap();
    let tx = fixture.begin().await;
    let sql = format!(
        "INSERT INTO jottings (team_id, body) VALUES ('{}', 'x')",
        fixture.team.id
    );
    tx.execute_unprepared(&sql).await.unwrap();
    drop_while_blocked(&fixture.db, tx.commit()).await;
    holder.close().await.unwrap();
    eventually("the row that was committed", async || {
        fixture.count("jottings").await == 1
    })
    .await;
}

#[tokio::test]
async fn rights_are_the_roles() {
    let fixture = TeamFixture::new().await;
    let vic = fixture.team.member("vic", Role::Viewer).await;
    let tx = fixture.database.begin(&vic.context).await.unwrap();
    assert_eq!(tx.role(), Role::Viewer);
    tx.require(Role::Viewer).unwrap();
    let refused = tx.require(Role::Member).unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }));
    assert_eq!(refused.to_string(), "this needs the role member; yours is viewer");
}

/// Work that continues for a program has the current rights of its key, and no rights if the key is gone.
#[tokio::test]
async fn a_restored_api_key_has_its_own_rights_or_none() {
    let fixture = TeamFixture::new().await;
    let id = Uuid::now_v7();
    let as_key = || Context {
        actor: Actor::ApiKey {
            id,
            name: "importer".to_owned(),
        },
        ..fixture.team.system()
    };
    let unknown = fixture.database.begin(&as_key()).await;
    assert!(matches!(unknown, Err(Error::Unauthenticated { .. })), "{unknown:?}");

    let tx = fixture.begin().await;
    let key = "INSERT INTO api_keys (team_id, id, name, prefix, secret_sha256, role)
        VALUES ($1, $2, 'importer', 'abc', decode(repeat('00', 32), 'hex'), 'viewer')";
    tx.execute_sql(sqlx::query(key).bind(fixture.team.id).bind(id))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.database.begin(&as_key()).await.unwrap().role(), Role::Viewer);

    let tx = fixture.begin().await;
    let revoke = sqlx::query("UPDATE api_keys SET revoked_at = now() WHERE team_id = $1").bind(fixture.team.id);
    tx.execute_sql(revoke).await.unwrap();
    tx.commit().await.unwrap();
    assert!(fixture.database.begin(&as_key()).await.is_err());
}

/// A cancelled request leaves its statement running on its connection, but only until the statement timeout.
#[tokio::test]
async fn a_statement_that_waits_for_a_lock_gives_its_connection_back_in_time() {
    let fixture = TeamFixture::new().await;
    let options = fixture
        .db
        .options()
        .max_connections(1)
        .statement_timeout(Some(Duration::from_secs(1)));
    let impatient = fixture.db.connect(options, Consumers::none()).await;
    let row = fixture.widget("held").await;
    let holder = fixture.begin().await;
    let lock = "SELECT 1 FROM widgets WHERE team_id = $1 AND id = $2 FOR UPDATE";
    holder
        .fetch_all(sqlx::query(lock).bind(row.team_id).bind(row.id))
        .await
        .unwrap();

    let context = fixture.team.system();
    let waiting = impatient.begin(&context).await.unwrap();
    let refused = waiting
        .fetch_all(sqlx::query(lock).bind(row.team_id).bind(row.id))
        .await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    drop(waiting);
    impatient.begin(&context).await.unwrap().commit().await.unwrap();
}
