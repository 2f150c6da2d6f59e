//! Law 4: events are never changed, neither by the run-time role, nor by the owner, nor by a cascade.

use daybook::assert_events;
use daybook::testing::{TestDb, TestTeam};
use daybook_tests::{TeamFixture, eventually, refusal};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

/// `insufficient_privilege`: for `daybook_app`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// `restrict_violation`: raised by the triggers.
const RESTRICT_VIOLATION: &str = "23001";

/// Returns a team with an event, and a connection of the owner that has entered the team.
async fn recorded() -> (TeamFixture, PgConnection) {
    let fixture = TeamFixture::new().await;
    fixture.widget("w").await;
    let mut owner = fixture.db.owner().await;
    enter(&mut owner, &fixture.team).await;
    (fixture, owner)
}

async fn enter(connection: &mut PgConnection, team: &TestTeam) {
    connection
        .execute(AssertSqlSafe(format!(
            "SELECT set_config('daybook.team_id', '{}', false)",
            team.id
        )))
        .await
        .unwrap();
}

async fn refused_with(connection: &mut PgConnection, sql: &str, code: &str) {
    let (found, message) = refusal(connection, sql)
        .await
        .unwrap_or_else(|| panic!("not refused: {sql}"));
    assert_eq!(found, code, "{sql}: {message}");
}

async fn partitions(db: &TestDb) -> Vec<String> {
    let mut owner = db.owner().await;
    sqlx::query_scalar(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass ORDER BY 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap()
}

const CHANGES: [&str; 4] = [
    "UPDATE events SET object_label = 'another'",
    "DELETE FROM events",
    "TRUNCATE events",
    "TRUNCATE events CASCADE",
];

#[tokio::test]
async fn the_run_time_role_has_no_right_to_change_events() {
    let (fixture, _owner) = recorded().await;
    let mut app = fixture.team.connection().await;
    for sql in CHANGES {
        refused_with(&mut app, sql, INSUFFICIENT_PRIVILEGE).await;
    }
    let upsert = "INSERT INTO events SELECT * FROM events ON CONFLICT (team_id, id) DO UPDATE SET object_label = 'x'";
    refused_with(&mut app, upsert, INSUFFICIENT_PRIVILEGE).await;
    refused_with(&mut app, "SELECT FROM events FOR UPDATE", INSUFFICIENT_PRIVILEGE).await;
    assert_events!(fixture.team, ["CREATED widget “w”"]);
}

#[tokio::test]
async fn the_owner_is_refused_too() {
    let (fixture, mut owner) = recorded().await;
    for sql in CHANGES {
        refused_with(&mut owner, sql, RESTRICT_VIOLATION).await;
    }
    let upsert = "INSERT INTO events SELECT * FROM events ON CONFLICT (team_id, id) DO UPDATE SET object_label = 'x'";
    refused_with(&mut owner, upsert, RESTRICT_VIOLATION).await;
    assert_events!(fixture.team, ["CREATED widget “w”"]);
}

#[tokio::test]
async fn a_partition_can_not_be_changed_by_its_own_name() {
    let (fixture, mut owner) = recorded().await;
    let partitions = partitions(&fixture.db).await;
    assert!(partitions.contains(&"events_default".to_owned()), "{partitions:?}");
    let mut app = fixture.team.connection().await;
    for partition in partitions {
        refused_with(&mut owner, &format!("TRUNCATE {partition}"), RESTRICT_VIOLATION).await;
        // With forced row-level security and no policy, no row can be changed.
        for sql in [
            format!("DELETE FROM {partition}"),
            format!("UPDATE {partition} SET object_label = 'another'"),
        ] {
            let done = owner.execute(AssertSqlSafe(sql.clone())).await.unwrap();
            assert_eq!(done.rows_affected(), 0, "{sql}");
            refused_with(&mut app, &sql, INSUFFICIENT_PRIVILEGE).await;
        }
        refused_with(&mut app, &format!("TRUNCATE {partition}"), INSUFFICIENT_PRIVILEGE).await;
        // Even if the owner is given a policy there, the trigger refuses the change.
        let policy = format!("CREATE POLICY opened ON {partition} USING (true)");
        owner.execute(AssertSqlSafe(policy)).await.unwrap();
        let rows = daybook_tests::count(&mut owner, &partition).await;
        if rows > 0 {
            refused_with(&mut owner, &format!("DELETE FROM {partition}"), RESTRICT_VIOLATION).await;
            refused_with(
                &mut owner,
                &format!("UPDATE {partition} SET object_label = 'another'"),
                RESTRICT_VIOLATION,
            )
            .await;
        }
    }
    assert_events!(fixture.team, ["CREATED widget “w”"]);
}

/// A cascade runs with the rights of the table's owner, without the policies. No foreign key cascades to events; if
/// there were one, the triggers would refuse the change.
#[tokio::test]
async fn a_cascade_is_stopped() {
    let (fixture, mut owner) = recorded().await;
    let id: String = sqlx::query_scalar("SELECT object_id FROM events")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    for sql in [
        "CREATE TABLE parents (id text PRIMARY KEY)".to_owned(),
        format!("INSERT INTO parents VALUES ('{id}')"),
        "ALTER TABLE events ADD CONSTRAINT to_parents FOREIGN KEY (object_id) REFERENCES parents
             ON DELETE CASCADE ON UPDATE CASCADE"
            .to_owned(),
    ] {
        owner.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    refused_with(&mut owner, "DELETE FROM parents", RESTRICT_VIOLATION).await;
    refused_with(&mut owner, "UPDATE parents SET id = 'another'", RESTRICT_VIOLATION).await;
    refused_with(&mut owner, "TRUNCATE parents CASCADE", RESTRICT_VIOLATION).await;
    for (action, verb) in [
        ("SET NULL", "DELETE FROM parents"),
        ("SET DEFAULT", "DELETE FROM parents"),
    ] {
        let again = format!(
            "ALTER TABLE events DROP CONSTRAINT to_parents;
             ALTER TABLE events ADD CONSTRAINT to_parents FOREIGN KEY (object_id) REFERENCES parents ON DELETE {action}"
        );
        sqlx::raw_sql(AssertSqlSafe(again)).execute(&mut owner).await.unwrap();
        refused_with(&mut owner, verb, RESTRICT_VIOLATION).await;
    }
    assert_events!(fixture.team, ["CREATED widget “w”"]);
}

#[tokio::test]
async fn replication_mode_does_not_bypass_the_triggers() {
    let (fixture, mut owner) = recorded().await;
    refused_with(
        &mut owner,
        "SET session_replication_role = replica",
        INSUFFICIENT_PRIVILEGE,
    )
    .await;
    // A superuser may set it, and is not subject to row-level security: only the triggers protect events.
    if let Some(superuser) = fixture.db.superuser_options() {
        let mut superuser = superuser.connect().await.unwrap();
        superuser
            .execute("SET session_replication_role = replica")
            .await
            .unwrap();
        for sql in CHANGES {
            refused_with(&mut superuser, sql, RESTRICT_VIOLATION).await;
        }
        for partition in partitions(&fixture.db).await {
            refused_with(&mut superuser, &format!("TRUNCATE {partition}"), RESTRICT_VIOLATION).await;
        }
    }
    assert_events!(fixture.team, ["CREATED widget “w”"]);
}

/// The function that creates a partition sets what the partition does not inherit from its parent.
#[tokio::test]
async fn a_later_partition_is_protected_like_the_first() {
    let (fixture, mut owner) = recorded().await;
    let before = partitions(&fixture.db).await.len();
    let mut app = fixture.db.app_connection().await;
    let made: i32 = sqlx::query_scalar("SELECT daybook_ensure_event_partitions(24)")
        .fetch_one(&mut app)
        .await
        .unwrap();
    let partitions = partitions(&fixture.db).await;
    assert_eq!((made, partitions.len()), (21, before + 21));
    let again: i32 = sqlx::query_scalar("SELECT daybook_ensure_event_partitions(24)")
        .fetch_one(&mut app)
        .await
        .unwrap();
    assert_eq!(again, 0);
    for partition in &partitions {
        let (forced, row_trigger, truncate_trigger, owner_is_ours): (bool, bool, bool, bool) = sqlx::query_as(
            "SELECT relrowsecurity AND relforcerowsecurity,
                    EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'refuse_change' AND tgenabled = 'A'),
                    EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'refuse_truncate' AND tgenabled = 'A'),
                    relowner = (SELECT relowner FROM pg_class WHERE oid = 'events'::regclass)
             FROM pg_class c WHERE c.oid = $1::regclass",
        )
        .bind(partition)
        .fetch_one(&mut owner)
        .await
        .unwrap();
        assert!(
            forced && row_trigger && truncate_trigger && owner_is_ours,
            "{partition}"
        );
        refused_with(&mut owner, &format!("TRUNCATE {partition}"), RESTRICT_VIOLATION).await;
    }
    // Only the owner can attach tables.
    let attach = "SELECT daybook_attach_event_partition('mine', 'DEFAULT')";
    refused_with(&mut app, attach, INSUFFICIENT_PRIVILEGE).await;
    refused_with(&mut app, "SELECT daybook_ensure_event_partitions(25)", "P0001").await;
}

/// A partition can't be attached while the default one has rows of its month; other months' partitions can.
#[tokio::test]
async fn a_wrong_clock_does_not_block_other_months_partitions() {
    let (fixture, mut owner) = recorded().await;
    let insert = format!(
        "INSERT INTO events (team_id, id, event_type, object_type, object_id, object_label, threadable, actor_kind,
             actor_name, event_data, schema_version, correlation_id)
         SELECT '{0}', daybook_uuid7_floor(date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                 + interval '5 months 3 days'),
             'CREATED', 'w', 'wild', 'w', true, 'system', 't', '{{}}', 0, '{0}'",
        fixture.team.id,
    );
    owner.execute(AssertSqlSafe(insert)).await.unwrap();
    let mut app = fixture.db.app_connection().await;
    // Months 4 to 7 are missing; the fifth stays so.
    let made: i32 = sqlx::query_scalar("SELECT daybook_ensure_event_partitions(7)")
        .fetch_one(&mut app)
        .await
        .unwrap();
    assert_eq!(made, 3);
    assert_eq!(fixture.team.events().await.len(), 2, "nothing is lost");
}

/// An event goes to the partition of its month. An event from a wrong clock goes to the default partition and isn't
/// lost.
#[tokio::test]
async fn an_event_goes_to_its_months_partition_or_to_the_default_one() {
    let (fixture, mut owner) = recorded().await;
    let landed = |id: &'static str| format!("SELECT tableoid::regclass::text FROM events WHERE object_id = '{id}'");
    for (object, millis) in [("wild", u64::MAX >> 16), ("old", 0)] {
        let insert = format!(
            "INSERT INTO events (team_id, id, event_type, object_type, object_id, object_label, threadable, actor_kind,
                 actor_name, event_data, schema_version, correlation_id)
             VALUES ('{0}', '{1:08x}-{2:04x}-7000-8000-000000000000', 'CREATED', 'w', '{object}', 'w', true, 'system',
                 't', '{{}}', 0, '{0}')",
            fixture.team.id,
            millis >> 16,
            millis & 0xffff,
        );
        owner.execute(AssertSqlSafe(insert)).await.unwrap();
        let partition: String = sqlx::query_scalar(AssertSqlSafe(landed(object)))
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert_eq!(partition, "events_default", "{object}");
    }
    owner.execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    eventually("both are reported", async || {
        daybook::events::ensure_partitions(&fixture.database).await.unwrap() == 2
    })
    .await;
    // By the event's own time, not by the current one: a month may end between the two.
    let month = "SELECT 'events_' || to_char(created_at AT TIME ZONE 'UTC', 'YYYY_MM') FROM events WHERE object_type = 'widget'";
    let month: String = sqlx::query_scalar(month).fetch_one(&mut owner).await.unwrap();
    let partition: String =
        sqlx::query_scalar("SELECT tableoid::regclass::text FROM events WHERE object_type = 'widget'")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!(partition, month);
}
