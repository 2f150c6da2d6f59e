//! Writes one row in each team table, for tests that check every table.

use daybook::tenancy::Role;
use daybook::testing::{TestMember, TestTeam};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// Writes a row of a team in each team table. `teams`, `users` and `memberships` have rows since the team was founded.
pub(super) async fn seed(team: &TestTeam) -> TestMember {
    let person = team
        .member(&format!("p-{}", &team.id.simple().to_string()[20..]), Role::Owner)
        .await;
    let rows = format!(
        "INSERT INTO api_keys (team_id, id, name, prefix, secret_sha256, role)
            VALUES ('{team}', '{one}', 'ci', 'dbk_1', decode(repeat('00', 32), 'hex'), 'member');
         INSERT INTO invitations (team_id, id, issuer, subject, role, handle, display_name, invited_by_name)
            VALUES ('{team}', '{one}', 'https://issuer.test', 'guest', 'member', 'guest', 'Guest', 'Ada');
         INSERT INTO events (team_id, id, event_type, object_type, object_id, object_label, threadable, actor_kind,
                actor_name, event_data, schema_version, correlation_id)
            VALUES ('{team}', '{now}', 'CREATED', 'widget', '{one}', 'w', true, 'system', 'test', '{{}}', 0, '{one}');
         INSERT INTO consumer_failures (team_id, id, consumer, event_ids, error, correlation_id)
            VALUES ('{team}', '{one}', 'c', '{{}}', 'e', '{one}');
         INSERT INTO threads (team_id, id, object_type, object_id, object_label, last_seq)
            VALUES ('{team}', '{one}', 'widget', '{one}', 'w', 1);
         INSERT INTO thread_messages (team_id, thread_id, seq, kind, event_id)
            VALUES ('{team}', '{one}', 1, 'system', '{one}');
         INSERT INTO thread_followers (team_id, thread_id, user_id, following, reason)
            VALUES ('{team}', '{one}', '{user}', true, 'creator');
         INSERT INTO watches (team_id, user_id, object_type) VALUES ('{team}', '{user}', 'widget');
         INSERT INTO notifications (team_id, id, user_id, thread_id, reason, seq, unread_count)
            VALUES ('{team}', '{one}', '{user}', '{one}', 'follower', 1, 1);
         INSERT INTO notification_preferences (team_id, user_id, event_type, object_type, in_app)
            VALUES ('{team}', '{user}', 'UPDATED', 'widget', true);
         INSERT INTO ws_tickets (team_id, ticket_sha256, context, expires_at) VALUES ('{team}', '', '{{}}', now());
         INSERT INTO idempotency_keys (team_id, actor, key, request_sha256, correlation_id)
            VALUES ('{team}', 'user', 'k', '', '{one}');
         INSERT INTO job_sessions (team_id, id, job_name, job_id, attempt, max_attempts, status, sentence, input, context,
                correlation_id)
            VALUES ('{team}', '{one}', 'sync', '{one}', 1, 1, 'running', 'Sync', '{{}}', '{{}}', '{one}');
         INSERT INTO job_actions (team_id, session_id, seq, at, action_type, sentence, payload)
            VALUES ('{team}', '{one}', 1, now(), 'Synced', 'Synced', '{{}}');
         INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, run_at, priority, max_attempts)
            VALUES ('{team}', '{one}', 'sync', '{one}', '{{}}', jsonb_build_object('team_id', '{team}'), now(), 0, 1);
         INSERT INTO consumer_effects (team_id, consumer, event_id) VALUES ('{team}', 'crm', '{one}');
         INSERT INTO event_counts (team_id, day, object_type, event_type, actor_kind, actor_id, events)
            VALUES ('{team}', '2026-11-21', 'campaign', 'CREATED', 'user', '{one}', 1);
         INSERT INTO runs (team_id, id, name, status, events_path, lost_after_seconds, correlation_id)
            VALUES ('{team}', '{one}', 'nightly', 'queued', 'events.ndjson', 60, '{one}');
         INSERT INTO run_leases (team_id, run_id, epoch, home) VALUES ('{team}', '{one}', 1, '{one}');
         INSERT INTO campaigns (team_id, id, name) VALUES ('{team}', '{one}', 'Spring');
         INSERT INTO widgets (team_id, id, name) VALUES ('{team}', '{one}', 'w');
         INSERT INTO jottings (team_id, id, body) VALUES ('{team}', '{one}', 'j');",
        team = team.id,
        user = person.user_id,
        // The same ids in each team: a unique key without the team would refuse the second team's row.
        one = "01900000-0000-7000-8000-000000000001",
        now = uuid::Uuid::now_v7(),
    );
    let mut connection = team.connection().await;
    sqlx::raw_sql(AssertSqlSafe(rows))
        .execute(&mut connection)
        .await
        .unwrap();
    person
}

/// Returns all tables with team rows, from the catalogue, without partitions.
pub(super) async fn team_tables(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND (c.relname IN ('teams', 'users') OR EXISTS (SELECT FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname = 'team_id' AND NOT a.attisdropped))
         ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}
