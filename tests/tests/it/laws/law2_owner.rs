//! Law 2: a run-time role can't act with the rights of the tables' owner, and can't block the owner's work.

use daybook::tenancy::{Database, DatabaseOptions};
use daybook_tests::{WAIT_LIMIT, eventually, migrations, refusal, test_db};
use sqlx::{AssertSqlSafe, Connection as _, Executor};

use super::law2_self_check::refusal_message;

/// `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
const OPENED: &str = "SELECT NOT relrowsecurity FROM pg_class WHERE oid = 'public.campaigns'::regclass";
const MALICIOUS_FUNCTION: &str = "CREATE FUNCTION pg_temp.evil(v anyelement) RETURNS bool LANGUAGE plpgsql AS
    $$BEGIN EXECUTE 'ALTER TABLE public.campaigns DISABLE ROW LEVEL SECURITY'; RETURN true; END$$";

#[tokio::test]
async fn the_run_time_role_creates_no_temporary_object() {
    let db = test_db().await;
    let mut app = db.app_connection().await;
    for sql in [
        MALICIOUS_FUNCTION,
        "CREATE TEMP TABLE mine (id int)",
        "CREATE DOMAIN pg_temp.text AS pg_catalog.text",
    ] {
        let (code, message) = refusal(&mut app, sql).await.expect(sql);
        assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{sql}: {message}");
    }
    let mut worker = db
        .owner_options()
        .options([("role", daybook_migration::rls::WORKER_ROLE)]);
    worker = worker.application_name("worker");
    let mut worker = sqlx::ConnectOptions::connect(&worker).await.unwrap();
    let (code, message) = refusal(&mut worker, MALICIOUS_FUNCTION).await.expect("refused");
    assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{message}");
}

/// Even with the right TEMP, which an administrator may have granted again, the functions find no object of the caller.
#[tokio::test]
async fn a_temporary_type_is_not_found_by_a_function_that_runs_as_its_owner() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    let database = db.owner_options().get_database().unwrap().to_owned();
    let give = format!("GRANT TEMPORARY ON DATABASE {database} TO daybook_app");
    owner.execute(AssertSqlSafe(give)).await.unwrap();
    // Each type name that the functions use, one at a time.
    for (name, of) in [
        ("text", "pg_catalog.text"),
        ("int4", "pg_catalog.int4"),
        ("int", "pg_catalog.int4"),
        ("bool", "pg_catalog.bool"),
        ("timestamp", "pg_catalog.timestamp"),
        ("timestamptz", "pg_catalog.timestamptz"),
        ("interval", "pg_catalog.interval"),
        ("uuid", "pg_catalog.uuid"),
    ] {
        let mut app = db.app_connection().await;
        app.execute(MALICIOUS_FUNCTION).await.unwrap();
        let domain = format!("CREATE DOMAIN pg_temp.\"{name}\" AS {of} CHECK (pg_temp.evil(VALUE))");
        app.execute(AssertSqlSafe(domain)).await.unwrap();
        // One more month than exists, so that the whole function runs.
        let months: i32 =
            sqlx::query_scalar("SELECT count(*)::int - 1 FROM pg_inherits WHERE inhparent = 'events'::regclass")
                .fetch_one(&mut owner)
                .await
                .unwrap();
        let made: i32 = sqlx::query_scalar("SELECT public.daybook_ensure_event_partitions($1)")
            .bind(months)
            .fetch_one(&mut app)
            .await
            .unwrap();
        assert_eq!(made, 1, "{name}");
        let team = "00000000-0000-7000-8000-000000000001";
        let enter = format!("SELECT FROM public.daybook_enter_person('{team}', 'issuer', 'subject')");
        app.execute(AssertSqlSafe(enter)).await.unwrap();
        let opened: bool = sqlx::query_scalar(OPENED).fetch_one(&mut owner).await.unwrap();
        assert!(!opened, "the caller's {name} was found first");
    }
}

#[tokio::test]
async fn functions_can_only_be_called_by_the_roles_that_need_them() {
    let db = test_db().await;
    let relay = db
        .owner_options()
        .options([("role", daybook_migration::rls::WORKER_ROLE)]);
    let mut worker = sqlx::ConnectOptions::connect(&relay).await.unwrap();
    for call in [
        "SELECT daybook_enter_member(gen_random_uuid(), gen_random_uuid())",
        "SELECT daybook_enter_person(gen_random_uuid(), 'a', 'b')",
    ] {
        let (code, message) = refusal(&mut worker, call).await.expect(call);
        assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{message}");
    }
    let mut app = db.app_connection().await;
    for call in [
        "SELECT daybook_attach_event_partition('mine', 'DEFAULT')",
        "SELECT graphile_worker.add_job('note', '{}')",
    ] {
        let (code, message) = refusal(&mut app, call).await.expect(call);
        assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{message}");
    }
}

#[tokio::test]
async fn a_database_with_temp_for_public_is_refused_with_the_statement_that_revokes_it() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    let database = db.owner_options().get_database().unwrap().to_owned();
    for from in ["PUBLIC", "daybook_app"] {
        let give = format!("GRANT TEMPORARY ON DATABASE {database} TO {from}");
        owner.execute(AssertSqlSafe(give)).await.unwrap();
        let message = refusal_message(db.options()).await;
        let remedy = format!("REVOKE TEMPORARY ON DATABASE {database} FROM {from}");
        assert!(message.contains(&remedy), "{message}");
        owner.execute(AssertSqlSafe(remedy)).await.unwrap();
        accepted(db.options()).await;
    }
    // A dump doesn't contain rights on a database, so the next migration revokes them again.
    let give = format!("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC");
    owner.execute(AssertSqlSafe(give)).await.unwrap();
    migrations().up(&db.owner_options()).await.unwrap();
    accepted(db.options()).await;
}

#[tokio::test]
async fn a_security_definer_function_without_a_safe_search_path_is_refused_by_name() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    let body = "RETURNS int LANGUAGE sql SECURITY DEFINER";
    for path in [
        "",
        "SET search_path = pg_catalog",
        "SET search_path = pg_temp, pg_catalog",
    ] {
        let make = format!("CREATE OR REPLACE FUNCTION guests_count(team uuid) {body} {path} AS 'SELECT 1'");
        owner.execute(AssertSqlSafe(make)).await.unwrap();
        let message = refusal_message(db.options()).await;
        let remedy = "ALTER FUNCTION guests_count(uuid) SET search_path = pg_catalog, pg_temp";
        assert!(message.contains(remedy), "{path}: {message}");
        owner.execute(remedy).await.unwrap();
        accepted(db.options()).await;
    }
    // A trigger function runs even if the role may not call it.
    owner
        .execute(
            "CREATE FUNCTION on_guest() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END';
             REVOKE ALL ON FUNCTION on_guest() FROM PUBLIC",
        )
        .await
        .unwrap();
    let message = refusal_message(db.options()).await;
    assert!(message.contains("function on_guest() runs as its owner"), "{message}");
    owner.execute("DROP FUNCTION on_guest()").await.unwrap();
    // A function that the run-time role can neither call nor trigger is allowed.
    owner
        .execute(
            "CREATE FUNCTION private() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
             REVOKE ALL ON FUNCTION private() FROM PUBLIC",
        )
        .await
        .unwrap();
    accepted(db.options()).await;

    // A schema in which the run-time role may create objects is as unsafe as pg_temp.
    owner
        .execute(
            "CREATE SCHEMA shared; GRANT CREATE ON SCHEMA shared TO daybook_app;
             ALTER FUNCTION guests_count(uuid) SET search_path = pg_catalog, shared, pg_temp",
        )
        .await
        .unwrap();
    let message = refusal_message(db.options()).await;
    assert!(
        message.contains("guests_count(uuid)") && message.contains("shared"),
        "{message}"
    );
}

async fn accepted(options: DatabaseOptions) {
    Database::connect(options).await.unwrap().close().await;
}

/// Any role can take an advisory lock. Here a role without rights holds the ones that were used before.
#[tokio::test]
async fn only_the_owner_can_block_migrations_and_partitions() {
    let db = test_db().await;
    let mut app = db.app_connection().await;
    app.execute(
        "SELECT pg_advisory_lock(7233195940217056001), pg_advisory_lock(hashtext('daybook_ensure_event_partitions'))",
    )
    .await
    .unwrap();
    let (migrations, owner) = (migrations(), db.owner_options());
    let status = tokio::time::timeout(WAIT_LIMIT, migrations.status(&owner))
        .await
        .expect("migrations waited for a lock that any role can hold");
    assert!(status.unwrap().pending.is_empty());
    let mut other = db.app_connection().await;
    let made = sqlx::query_scalar("SELECT daybook_ensure_event_partitions(5)").fetch_one(&mut other);
    let made: i32 = tokio::time::timeout(WAIT_LIMIT, made)
        .await
        .expect("partitions waited for a lock that any role can hold")
        .unwrap();
    assert_eq!(made, 2);

    // The locks that are used can't be taken by other roles.
    for lock in [
        "BEGIN; LOCK TABLE daybook_migrations_lock IN ACCESS SHARE MODE",
        "BEGIN; LOCK TABLE daybook_migrations_lock IN SHARE ROW EXCLUSIVE MODE",
        "BEGIN; LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE",
        "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE",
    ] {
        let (code, message) = refusal(&mut other, lock).await.expect(lock);
        assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{message}");
        other.execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn migrations_wait_for_running_migrations() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    owner
        .execute("BEGIN; LOCK TABLE daybook_migrations_lock IN SHARE ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    let options = db.owner_options();
    let waiting = tokio::spawn(async move { migrations().status(&options).await });
    // A transaction sees the activity as it was at its first query.
    let mut other = db.owner().await;
    eventually("a refused attempt to take the lock", async || {
        let attempt = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = 'daybook migrate' AND query = 'ROLLBACK')";
        sqlx::query_scalar(attempt).fetch_one(&mut other).await.unwrap()
    })
    .await;
    assert!(!waiting.is_finished());
    owner.close().await.unwrap();
    assert!(waiting.await.unwrap().unwrap().pending.is_empty());
}
