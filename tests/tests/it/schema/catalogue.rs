//! Checks each table, type, key and grant in PostgreSQL's catalogue.

use daybook::testing::TestDb;
use daybook_tests::test_db;
use sqlx::{AssertSqlSafe, Executor};

use super::assert_golden;

/// Returns the result of a query over the catalogue, one text for each row.
async fn lines(sql: &str) -> Vec<String> {
    let db = test_db().await;
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(&mut db.owner().await)
        .await
        .unwrap()
}

/// The tables with team rows, including partitions, without the tables of the migrations.
const TEAM_TABLES: &str = "SELECT c.* FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND (c.relname IN ('teams', 'users') OR EXISTS (SELECT FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attname = 'team_id' AND NOT a.attisdropped))";

#[tokio::test]
async fn a_table_has_team_rows_or_belongs_to_the_migrations() {
    let others = lines(&format!(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'I', 't', 'v')
           AND oid NOT IN (SELECT oid FROM ({TEAM_TABLES}) t) ORDER BY 1"
    ))
    .await;
    assert_eq!(
        others,
        [
            // The workers' positions, for the whole database: they belong to no team and only to the workers' role.
            "consumer_cursors",
            "daybook_migrations",
            // Locked while migrations run; only the owner has rights on it.
            "daybook_migrations_lock",
            "daybook_sample_migrations",
            // Ids of people who are in no team any more; no run-time role reads or writes it.
            "erased_people",
            "harness_migrations",
            // Processes, which refer to no object of a team.
            "run_homes"
        ]
    );
}

#[tokio::test]
async fn every_team_table_has_forced_row_level_security() {
    let open = lines(&format!(
        "SELECT relname::text FROM ({TEAM_TABLES}) t WHERE NOT (relrowsecurity AND relforcerowsecurity)"
    ))
    .await;
    assert!(open.is_empty(), "{open:?}: call enable_team_rls");
}

#[tokio::test]
async fn every_team_table_has_a_policy_and_no_partition_has() {
    let without = lines(&format!(
        "SELECT relname::text FROM ({TEAM_TABLES}) t
         WHERE NOT relispartition AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = t.oid)"
    ))
    .await;
    assert!(without.is_empty(), "{without:?}: no role sees a row of it");
    let with = lines(&format!(
        "SELECT relname::text FROM ({TEAM_TABLES}) t
         WHERE relispartition AND EXISTS (SELECT FROM pg_policy WHERE polrelid = t.oid)"
    ))
    .await;
    assert!(
        with.is_empty(),
        "{with:?}: rows are reached through the parent, by its policy"
    );
}

/// The self-check at start compares with this: owners, row-level security, policies, triggers, functions and grants.
/// They isolate teams and protect events, so a person must read each change.
#[tokio::test]
async fn a_freshly_migrated_database_is_what_the_self_check_expects() {
    let db = TestDb::new().await;
    // The same query as in the service.
    let mut connection = db.app_connection().await;
    connection.execute("SET search_path = pg_catalog").await.unwrap();
    let facts: Vec<(String, String, String, Option<String>, String)> =
        sqlx::query_as(include_str!("../../../../crates/tenancy/src/self_check/catalogue.sql"))
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let mut lines: Vec<String> = Vec::new();
    let mut under = String::new();
    for (heading, _, _, _, made) in facts {
        let named = format!("[{heading}]");
        if named != under {
            lines.push(named.clone());
            under = named;
        }
        // All partitions have the same ones.
        if !(under.starts_with("[(") && lines.contains(&made)) {
            lines.push(made);
        }
    }
    let to_public = lines
        .iter()
        .find(|line| line.starts_with("GRANT ") && line.contains(" TO PUBLIC"));
    assert_eq!(to_public, None);
    assert_golden(
        "../../../crates/tenancy/src/self_check/migrated.txt",
        &(lines.join("\n") + "\n"),
    );
}

/// Checks all schemas: ours, the queue's and those of a program's own migrations. A function that runs as its owner, or
/// in a trigger of another role's statement, must not find the caller's temporary objects first.
#[tokio::test]
async fn a_function_that_runs_as_its_owner_or_in_a_trigger_pins_its_search_path() {
    let loose = lines(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
           AND (p.prosecdef OR p.prorettype = 'trigger'::regtype)
           AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS setting
                           WHERE setting = 'search_path=pg_catalog, pg_temp')",
    )
    .await;
    assert!(loose.is_empty(), "{loose:?}: SET search_path = pg_catalog, pg_temp");
    let ours = lines(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
           AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting
                           WHERE setting = 'search_path=pg_catalog, pg_temp')",
    )
    .await;
    assert!(ours.is_empty(), "{ours:?}: SET search_path = pg_catalog, pg_temp");
}

/// PUBLIC may call neither our functions nor the queue's.
#[tokio::test]
async fn only_roles_that_need_a_function_may_call_it() {
    let open = lines(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_function_privilege('public', p.oid, 'EXECUTE')",
    )
    .await;
    assert!(open.is_empty(), "{open:?}: REVOKE ALL ON FUNCTION … FROM PUBLIC");
    let temp = lines(
        "SELECT datname::text FROM pg_database WHERE datname = current_database()
        AND has_database_privilege('public', oid, 'TEMPORARY')",
    )
    .await;
    assert!(temp.is_empty(), "{temp:?}: PUBLIC may create temporary objects");
}

/// Under the policies an index that doesn't begin with the team is useless, and a unique one reveals other teams' rows.
#[tokio::test]
async fn every_index_begins_with_the_team() {
    let others = lines(
        "SELECT i.indexrelid::regclass || ' on ' || c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
         WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND c.relname NOT LIKE '%\\_migrations'
           AND coalesce((SELECT attname FROM pg_attribute
                         WHERE attrelid = i.indrelid AND attnum = i.indkey[0]), '') <> 'team_id'
         ORDER BY 1",
    )
    .await;
    assert_eq!(
        others,
        [
            "consumer_cursors_pkey on consumer_cursors",
            // Erased people are in no team.
            "erased_people_pkey on erased_people",
            // The relay reads across teams, and so does the search for workers without a heartbeat.
            "events_relay_idx on events",
            // "Which teams have invited me?" is a query without a team.
            "invitations_identity_idx on invitations",
            // As `events_relay_idx`.
            "job_requests_relay_idx on job_requests",
            "job_sessions_running_idx on job_sessions",
            // So that the planner doesn't confuse it with the key `(team_id, …)`; see the migration `m0020_indexes`.
            "memberships_handle_key on memberships",
            // "Which teams am I in?" is a query without a team.
            "memberships_user_idx on memberships",
            // For the same reason as `memberships_handle_key`.
            "notifications_thread_idx on notifications",
            // Processes belong to no team; runs that nobody ends, and old runs, are searched across teams.
            "run_homes_pkey on run_homes",
            "runs_kept_idx on runs",
            "runs_open_idx on runs",
            // Keys of rows without a team, and keys with the same reason as `memberships_handle_key`.
            "teams_pkey on teams",
            "thread_followers_user_idx on thread_followers",
            "threads_object_key on threads",
            "users_identity_key on users",
            "users_pkey on users",
        ]
    );
}

#[tokio::test]
async fn every_team_table_is_keyed_by_the_team() {
    let without = lines(&format!(
        "SELECT relname::text FROM ({TEAM_TABLES}) t WHERE relname NOT IN ('teams', 'users')
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = t.oid AND contype = 'p'
               AND conkey[1] = (SELECT attnum FROM pg_attribute WHERE attrelid = t.oid AND attname = 'team_id'))"
    ))
    .await;
    assert!(without.is_empty(), "{without:?}");
    let nullable = lines(&format!(
        "SELECT relname::text FROM ({TEAM_TABLES}) t JOIN pg_attribute a ON a.attrelid = t.oid
         WHERE a.attname = 'team_id' AND NOT a.attnotnull"
    ))
    .await;
    assert!(nullable.is_empty(), "{nullable:?}");
}

/// `enum_eq` is not leakproof: under row-level security a filter on an enum can't use its index.
#[tokio::test]
async fn there_are_no_enum_types() {
    let enums = lines("SELECT typname::text FROM pg_type WHERE typtype = 'e'").await;
    assert!(enums.is_empty(), "{enums:?}: text with a CHECK");
}

#[tokio::test]
async fn no_foreign_key_reaches_or_leaves_events() {
    let keys = lines(
        "SELECT conrelid::regclass || ' → ' || confrelid::regclass FROM pg_constraint
         WHERE contype = 'f' AND ('events'::regclass IN (conrelid, confrelid)
             OR EXISTS (SELECT FROM pg_inherits
                        WHERE inhparent = 'events'::regclass AND inhrelid IN (conrelid, confrelid)))",
    )
    .await;
    assert!(keys.is_empty(), "{keys:?}: a cascade runs with the owner's rights");
}

/// A view runs with its owner's rights unless it is a `security_invoker` view.
#[tokio::test]
async fn every_view_runs_as_its_caller() {
    let views = lines(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND (relkind = 'm'
             OR relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)
                AND NOT coalesce('security_invoker=on' = ANY (reloptions), false))",
    )
    .await;
    assert!(views.is_empty(), "{views:?}: WITH (security_invoker = true)");
}

#[tokio::test]
async fn the_run_time_roles_have_no_powers() {
    let powers = lines(
        "SELECT rolname::text FROM pg_roles WHERE rolname IN ('daybook_app', 'daybook_relay', 'daybook_worker')
           AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication OR rolcanlogin
                -- The workers see what the relay sees.
                OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid
                    AND (rolname, roleid::regrole::text) <> ('daybook_worker', 'daybook_relay'))
                OR EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid))",
    )
    .await;
    assert!(powers.is_empty(), "{powers:?}");
    let members =
        lines("SELECT roleid::regrole::text FROM pg_auth_members WHERE member = current_user::regrole ORDER BY 1")
            .await;
    assert_eq!(
        members,
        ["daybook_app", "daybook_worker"],
        "the roles that the owner's login can switch to"
    );
}
