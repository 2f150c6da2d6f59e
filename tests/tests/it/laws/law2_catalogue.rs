//! Laws 2 and 4: the self-check at start names what differs from the migrations, and how to repair it.

use std::sync::{Arc, Mutex};

use daybook::tenancy::{Database, DatabaseOptions};
use daybook::testing::TestDb;
use daybook_tests::{eventually, test_db};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor};

use super::law2_self_check::refusal_message;

/// Changes by the owner, and the statements in the refusal.
const CHANGES: [(&str, &str); 19] = [
    (
        "DROP POLICY team_isolation ON threads",
        "CREATE POLICY team_isolation ON public.threads AS PERMISSIVE FOR ALL TO PUBLIC USING ((team_id =",
    ),
    (
        "ALTER POLICY team_isolation ON threads USING (true)",
        "DROP POLICY team_isolation ON public.threads; CREATE POLICY team_isolation ON public.threads AS",
    ),
    (
        "ALTER POLICY workers ON job_requests TO PUBLIC",
        "DROP POLICY workers ON public.job_requests; CREATE POLICY workers ON public.job_requests AS PERMISSIVE FOR ALL \
         TO daybook_worker",
    ),
    (
        "CREATE POLICY everybody ON memberships FOR SELECT USING (true)",
        "DROP POLICY everybody ON public.memberships",
    ),
    (
        "CREATE POLICY everybody ON events_default FOR SELECT USING (true)",
        "DROP POLICY everybody ON public.events_default",
    ),
    (
        "ALTER TABLE events NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE public.events FORCE ROW LEVEL SECURITY",
    ),
    (
        "ALTER TABLE consumer_cursors DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE public.consumer_cursors ENABLE ROW LEVEL SECURITY",
    ),
    (
        "ALTER TABLE events DISABLE TRIGGER refuse_change",
        "ALTER TABLE public.events ENABLE TRIGGER refuse_change; ALTER TABLE public.events ENABLE ALWAYS TRIGGER refuse_change",
    ),
    (
        "ALTER TABLE events_default DISABLE TRIGGER refuse_truncate",
        "ALTER TABLE public.events_default ENABLE ALWAYS TRIGGER refuse_truncate",
    ),
    (
        "DROP TRIGGER refuse_transaction ON runs",
        "CREATE TRIGGER refuse_transaction BEFORE INSERT OR UPDATE OF transaction_id ON public.runs",
    ),
    (
        "GRANT UPDATE ON events TO daybook_app",
        "REVOKE UPDATE ON public.events FROM daybook_app",
    ),
    (
        "GRANT INSERT (created_at) ON events TO daybook_app",
        "REVOKE INSERT (created_at) ON public.events FROM daybook_app",
    ),
    (
        "GRANT SELECT ON users TO PUBLIC",
        "REVOKE SELECT ON public.users FROM PUBLIC",
    ),
    (
        "GRANT SELECT ON graphile_worker._private_jobs TO daybook_app",
        "REVOKE SELECT ON graphile_worker._private_jobs FROM daybook_app",
    ),
    (
        "REVOKE SELECT ON threads FROM daybook_app",
        "GRANT SELECT ON public.threads TO daybook_app",
    ),
    (
        "ALTER FUNCTION daybook_enter_member(uuid, uuid) SET search_path = public",
        "ALTER FUNCTION public.daybook_enter_member(uuid,uuid) SET search_path = pg_catalog, pg_temp",
    ),
    (
        "ALTER FUNCTION daybook_enter_member(uuid, uuid) SECURITY DEFINER",
        "ALTER FUNCTION public.daybook_enter_member(uuid,uuid) SECURITY INVOKER",
    ),
    (
        "GRANT EXECUTE ON FUNCTION daybook_uuid7_floor(timestamptz) TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION public.daybook_uuid7_floor(timestamp with time zone) FROM PUBLIC",
    ),
    (
        "ALTER VIEW job_session_timelines RESET (security_invoker)",
        "ALTER VIEW public.job_session_timelines SET (security_invoker=true)",
    ),
];

/// Returns the statements of all findings: the text between the introduction of a finding and the next finding's
/// object.
fn statements(refused: &str, owner: &str) -> String {
    let words = format!(" is not as its migrations made it; as {owner}: ");
    let mut findings: Vec<&str> = refused.split(&words).skip(1).collect();
    let last = findings.pop().unwrap_or_default();
    let others = findings.iter().filter_map(|finding| finding.rsplit_once("; "));
    let mut statements: Vec<&str> = others.map(|(statements, _)| statements).collect();
    statements.push(last);
    statements.join("; ")
}

#[tokio::test]
async fn a_difference_from_the_migrations_is_refused_with_the_repairing_statements() {
    for (change, repair) in CHANGES {
        let db = test_db().await;
        let mut owner = db.owner().await;
        owner.execute(change).await.expect(change);
        let refused = refusal_message(db.options()).await;
        assert!(
            refused.contains("is not as its migrations made it") && refused.contains(repair),
            "{change}: {refused}"
        );
        // The statements repair the change.
        let statements = statements(&refused, db.owner_options().get_username());
        owner
            .execute(AssertSqlSafe(statements.clone()))
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error}"));
        Database::connect(db.options())
            .await
            .unwrap_or_else(|error| panic!("{change}, then {statements}: {error:?}"))
            .close()
            .await;
    }
}

#[tokio::test]
async fn another_function_body_and_an_unenforced_foreign_key_are_refused() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    owner
        .execute(
            "CREATE OR REPLACE FUNCTION daybook_refuse_event_change() RETURNS trigger LANGUAGE plpgsql
                SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NEW; END $$",
        )
        .await
        .unwrap();
    let refused = refusal_message(db.options()).await;
    let words = "give public.daybook_refuse_event_change() the body that it has in a freshly migrated database";
    assert!(refused.contains(words), "{refused}");

    let db = test_db().await;
    let Some(superuser) = db.superuser_options() else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    let mut superuser = sqlx::ConnectOptions::connect(&superuser).await.unwrap();
    superuser
        .execute("ALTER TABLE memberships DISABLE TRIGGER ALL")
        .await
        .unwrap();
    let refused = refusal_message(db.options()).await;
    assert!(
        refused.contains("public.memberships is not as")
            && refused.contains("ENABLE TRIGGER \"RI_ConstraintTrigger_c_"),
        "{refused}"
    );
}

/// A program may observe Daybook's tables with its own triggers.
#[tokio::test]
async fn a_programs_own_trigger_is_a_warning() {
    let db = test_db().await;
    db.owner()
        .await
        .execute(
            "CREATE TRIGGER audit BEFORE UPDATE ON memberships FOR EACH ROW
                EXECUTE FUNCTION suppress_redundant_updates_trigger();
             ALTER TABLE memberships ENABLE ALWAYS TRIGGER audit",
        )
        .await
        .unwrap();
    Database::connect(db.options()).await.unwrap();
}

/// The log output of this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts on a database and returns the warnings.
async fn warnings_at_start(db: &TestDb) -> String {
    let logged = Logged::default();
    let log = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || log.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    Database::connect(db.options()).await.unwrap().close().await;
    String::from_utf8(logged.0.lock().unwrap().clone()).unwrap()
}

#[tokio::test]
async fn a_policy_of_a_programs_own_table_that_names_the_team_or_a_setting_is_accepted() {
    let db = test_db().await;
    db.owner()
        .await
        .execute(
            "CREATE POLICY own_rows ON widgets FOR SELECT USING (name = current_setting('daybook.user_id', true));
             CREATE POLICY reports ON widgets FOR SELECT TO daybook_relay USING (true);
             CREATE POLICY not_deleted ON widgets AS RESTRICTIVE USING (deleted_at IS NULL)",
        )
        .await
        .unwrap();
    let logged = warnings_at_start(&db).await;
    assert!(!logged.contains("policy"), "{logged}");
}

/// They may be safe: the first shows nothing, and the second goes through a table that has its own policies.
#[tokio::test]
async fn a_policy_of_a_programs_own_table_that_names_neither_is_a_warning() {
    let db = test_db().await;
    db.owner()
        .await
        .execute(
            "CREATE POLICY nothing ON widgets FOR SELECT USING (false);
             CREATE POLICY by_thread ON widgets USING (EXISTS (SELECT FROM threads t WHERE t.object_id = widgets.id::text));
             CREATE POLICY \"For Role\" ON widgets FOR SELECT USING (pg_has_role(current_user, 'daybook_relay', 'MEMBER'))",
        )
        .await
        .unwrap();
    let logged = warnings_at_start(&db).await;
    for policy in ["nothing", "by_thread", "\"For Role\""] {
        for words in [
            format!("policy {policy} on public.widgets names neither its column team_id nor a setting"),
            format!("DROP POLICY {policy} ON public.widgets"),
        ] {
            assert!(logged.contains(&words), "{words:?} is not in: {logged}");
        }
    }
}

#[tokio::test]
async fn a_policy_of_a_programs_own_table_that_lets_everybody_in_is_refused() {
    for policy in [
        "FOR SELECT USING (true)",
        "FOR SELECT USING (id IS NOT NULL)",
        "FOR SELECT USING ((SELECT true))",
        "FOR SELECT USING (current_user = 'daybook_app')",
        "FOR INSERT WITH CHECK (length('x') = 1)",
        "FOR SELECT TO daybook_app USING (1 = 1)",
        "FOR INSERT WITH CHECK (true)",
        "USING (team_id = nullif(current_setting('daybook.team_id', true), '')::uuid) WITH CHECK (NOT false)",
    ] {
        let db = test_db().await;
        let create = format!("CREATE POLICY everybody ON widgets {policy}");
        db.owner().await.execute(AssertSqlSafe(create)).await.unwrap();
        let refused = refusal_message(db.options()).await;
        assert!(
            refused.contains("policy everybody on public.widgets shows requests the rows of every team")
                && refused.contains("DROP POLICY everybody ON public.widgets"),
            "{policy}: {refused}"
        );
    }
}

/// Policies apply to the members of the roles that they name.
#[tokio::test]
async fn a_policy_for_a_group_of_the_login_is_checked() {
    let db = test_db().await;
    let Some(superuser) = db.superuser_options() else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    let (group, login) = (
        format!("readers_{}", std::process::id()),
        format!("reader_{}", std::process::id()),
    );
    let mut connection = superuser.connect().await.unwrap();
    let make = format!("CREATE ROLE {group}; CREATE ROLE {login} LOGIN IN ROLE daybook_app, {group}");
    connection.execute(AssertSqlSafe(make)).await.unwrap();
    let mut options = DatabaseOptions::new(superuser.username(&login));
    options.assume_app_role = false;

    let accepted = Database::connect(options.clone()).await;
    let create = format!("CREATE POLICY everybody ON widgets FOR SELECT TO {group} USING (true)");
    db.owner().await.execute(AssertSqlSafe(create)).await.unwrap();
    let refused = Database::connect(options).await;
    // Before the assertions, since roles belong to the cluster.
    let drop = format!("DROP POLICY everybody ON widgets; DROP ROLE {login}; DROP ROLE {group}");
    connection.execute(AssertSqlSafe(drop)).await.unwrap();
    accepted.unwrap().close().await;
    let error = std::error::Error::source(&refused.unwrap_err()).unwrap().to_string();
    assert!(
        error.contains("policy everybody on public.widgets shows requests the rows of every team"),
        "{error}"
    );
    // The service's usual role is in no such group.
    Database::connect(db.options()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_team_table_of_another_schema_is_checked_where_the_role_reaches_it() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    owner
        .execute("CREATE SCHEMA shop; CREATE TABLE shop.guests (team_id uuid NOT NULL)")
        .await
        .unwrap();
    Database::connect(db.options()).await.unwrap().close().await;
    owner
        .execute("GRANT SELECT ON shop.guests TO daybook_app")
        .await
        .unwrap();
    let refused = refusal_message(db.options()).await;
    assert!(refused.contains("table shop.guests has team rows"), "{refused}");
}

/// This program can't tell the tables of another version from a user's.
#[tokio::test]
async fn the_schema_of_another_version_is_not_compared() {
    for other in [
        "INSERT INTO daybook_migrations (version, applied_at) VALUES ('m9999_later', 0)",
        "DELETE FROM daybook_migrations WHERE version = 'm0020_indexes'",
        "REVOKE SELECT ON daybook_migrations FROM daybook_app",
    ] {
        let db = test_db().await;
        let mut owner = db.owner().await;
        owner.execute("GRANT DELETE ON teams TO daybook_app").await.unwrap();
        assert!(refusal_message(db.options()).await.contains("public.teams"), "{other}");
        owner.execute(other).await.unwrap();
        Database::connect(db.options()).await.unwrap().close().await;
    }
}

#[tokio::test]
async fn an_open_policy_with_another_versions_schema_is_a_warning() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    owner
        .execute(
            "CREATE TABLE shared_things (team_id uuid NOT NULL);
             ALTER TABLE shared_things ENABLE ROW LEVEL SECURITY;
             ALTER TABLE shared_things FORCE ROW LEVEL SECURITY;
             CREATE POLICY everybody ON shared_things FOR SELECT USING (true)",
        )
        .await
        .unwrap();
    assert!(refusal_message(db.options()).await.contains("public.shared_things"));
    owner
        .execute("INSERT INTO daybook_migrations (version, applied_at) VALUES ('m9999_later', 0)")
        .await
        .unwrap();
    let logged = warnings_at_start(&db).await;
    assert!(
        logged.contains("the schema is not compared") && logged.contains("policy everybody on public.shared_things"),
        "{logged}"
    );
}

/// A process that migrates records its steps before it has granted all rights.
#[tokio::test]
async fn a_start_waits_for_a_migration_that_another_process_is_finishing() {
    let db = test_db().await;
    let (mut owner, mut migrating) = (db.owner().await, db.owner().await);
    owner
        .execute("REVOKE SELECT ON threads FROM daybook_app")
        .await
        .unwrap();
    let mut lock = migrating.begin().await.unwrap();
    lock.execute("LOCK TABLE daybook_migrations_lock IN SHARE ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    let options = db.options();
    let start = tokio::spawn(async move { Database::connect(options).await });
    eventually("the start to look for a migration", async || {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND pid <> pg_backend_pid() AND strpos(query, 'is_migrating') > 0)";
        start.is_finished() || sqlx::query_scalar(sql).fetch_one(&mut owner).await.unwrap()
    })
    .await;
    owner.execute("GRANT SELECT ON threads TO daybook_app").await.unwrap();
    lock.commit().await.unwrap();
    start.await.unwrap().unwrap().close().await;
}
