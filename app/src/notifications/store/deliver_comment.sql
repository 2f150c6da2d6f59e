-- Writes the notifications of a comment to the followers of its thread, except to $4: its author, and the people who
-- were notified of a mention.
--
-- $1 team, $2 thread, $3 the comment's seq, $4 the excluded people, $5 a UUIDv7 whose time the new rows' ids get.
WITH recipients AS MATERIALIZED (
    SELECT f.user_id, f.reason AS followed, t.object_type
    FROM threads t
    CROSS JOIN LATERAL (
        SELECT f.user_id, f.reason FROM thread_followers f
        WHERE f.team_id = $1 AND f.thread_id = $2 AND f.following AND NOT f.muted
        OFFSET 0
    ) f
    WHERE t.team_id = $1 AND t.id = $2 AND f.user_id <> ALL ($4)
),
-- As in deliver_events.sql.
members AS MATERIALIZED (
    SELECT m.user_id FROM memberships m
    WHERE m.team_id = $1 AND m.user_id = ANY (ARRAY (SELECT DISTINCT r.user_id FROM recipients r))
    ORDER BY m.user_id
    FOR KEY SHARE
)
INSERT INTO notifications AS n (team_id, id, user_id, thread_id, reason, seq, unread_count, unread_seqs, why_seq,
    why_event_type, why_followed, why_rule_event_type, why_rule_object_type)
SELECT $1, (left($5::text, 19) || right(gen_random_uuid()::text, 17))::uuid, r.user_id, $2, 'follower', $3, 1,
    ARRAY[$3::bigint], $3, 'COMMENT', r.followed, p.event_type, p.object_type
FROM recipients r
-- The most specific preference, as in deliver_events.sql.
LEFT JOIN LATERAL (
    SELECT p.event_type, p.object_type, p.in_app FROM notification_preferences p
    WHERE p.team_id = $1 AND p.user_id = r.user_id
        AND p.object_type IN (r.object_type, '*') AND p.event_type IN ('COMMENT', '*')
    ORDER BY p.object_type DESC, p.event_type DESC LIMIT 1
) p ON true
WHERE (r.user_id IN (SELECT m.user_id FROM members m)) IS TRUE AND p.in_app IS NOT FALSE
ORDER BY r.user_id
