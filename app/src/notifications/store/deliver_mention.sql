-- Notifies people of a mention in a new comment, or of one that an edit has added. People who have muted the thread or
-- switched mentions off are left out; people who have switched mentions off may still be notified as followers.
--
-- $1 team, $2 thread, $3 the comment's seq, $4 the mentioned people, $5 the excluded people, $6 a UUIDv7 whose time the
-- new rows' ids get.
WITH recipients AS MATERIALIZED (
    SELECT u.user_id, t.object_type
    FROM threads t CROSS JOIN (SELECT DISTINCT u.user_id FROM unnest($4::uuid[]) AS u (user_id)) u
    WHERE t.team_id = $1 AND t.id = $2 AND u.user_id <> ALL ($5) AND NOT coalesce((
        SELECT f.muted FROM thread_followers f
        WHERE f.team_id = $1 AND f.thread_id = $2 AND f.user_id = u.user_id
    ), false)
),
-- As in deliver_events.sql.
members AS MATERIALIZED (
    SELECT m.user_id FROM memberships m
    WHERE m.team_id = $1 AND m.user_id = ANY (ARRAY (SELECT r.user_id FROM recipients r))
    ORDER BY m.user_id
    FOR KEY SHARE
)
INSERT INTO notifications AS n (team_id, id, user_id, thread_id, reason, seq, unread_count, unread_seqs, why_seq,
    why_event_type, why_rule_event_type, why_rule_object_type)
SELECT $1, (left($6::text, 19) || right(gen_random_uuid()::text, 17))::uuid, r.user_id, $2, 'mentioned', $3, 1,
    ARRAY[$3::bigint], $3, 'MENTION', p.event_type, p.object_type
FROM recipients r
LEFT JOIN LATERAL (
    SELECT p.event_type, p.object_type, p.in_app FROM notification_preferences p
    WHERE p.team_id = $1 AND p.user_id = r.user_id
        AND p.object_type IN (r.object_type, '*') AND p.event_type = 'MENTION'
    ORDER BY p.object_type DESC LIMIT 1
) p ON true
WHERE (r.user_id IN (SELECT m.user_id FROM members m)) IS TRUE AND p.in_app IS NOT FALSE
ORDER BY r.user_id
ON CONFLICT (team_id, user_id, thread_id) DO UPDATE SET
    -- A mention that an edit has added may be older than the row's newest message. An unread row keeps the newest one.
    event_id = CASE WHEN n.read_at IS NULL AND n.seq > excluded.seq THEN n.event_id END,
    seq = CASE WHEN n.read_at IS NULL THEN greatest(n.seq, excluded.seq) ELSE excluded.seq END,
    -- For a follower who has not read the comment, it may be counted already.
    unread_count = n.unread_count + (NOT excluded.unread_seqs <@ n.unread_seqs)::int,
    unread_seqs = CASE WHEN excluded.unread_seqs <@ n.unread_seqs THEN n.unread_seqs
        ELSE (n.unread_seqs || excluded.unread_seqs)[greatest(1, cardinality(n.unread_seqs) - 98):] END,
    reason = excluded.reason,
    why_seq = excluded.why_seq,
    why_event_id = NULL,
    why_event_type = excluded.why_event_type,
    why_followed = NULL,
    why_rule_event_type = excluded.why_rule_event_type,
    why_rule_object_type = excluded.why_rule_object_type,
    version = n.version + 1,
    read_at = NULL,
    transaction_id = excluded.transaction_id,
    updated_at = greatest(n.updated_at, excluded.updated_at)
RETURNING n.user_id
