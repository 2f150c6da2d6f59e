-- Writes the notifications of one call's events of one type. The statement begins with event_object.sql or
-- event_objects.sql and ends with count_unread.sql.
-- A creator becomes a follower of the created object. A row with the reason 'reader' is not a choice of the person.
creator AS (
    INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason, read_seq)
    SELECT $1, o.thread_id, m.user_id, true, 'creator', CASE WHEN o.seq = o.messages THEN o.seq ELSE 0 END
    FROM objects o
    CROSS JOIN LATERAL (
        SELECT m.user_id FROM memberships m WHERE m.team_id = $1 AND m.user_id = $8 FOR KEY SHARE
    ) m
    WHERE $7 = 'CREATED'
    ORDER BY o.thread_id
    ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET following = true, reason = excluded.reason
        WHERE f.reason = 'reader'
),
-- A person's own events are not new to them, if nothing before them was new. The rows exist and are locked. This is
-- not an UPDATE with a join, because for a join the planner could choose which side to scan.
seen AS (
    INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason, read_seq)
    SELECT $1, o.thread_id, $8, r.following, r.reason, o.seq
    FROM objects o
    CROSS JOIN LATERAL (
        SELECT r.following, r.reason FROM thread_followers r
        WHERE r.team_id = $1 AND r.thread_id = o.thread_id AND r.user_id = $8 AND r.read_seq = o.seq - o.messages
        FOR NO KEY UPDATE
    ) r
    WHERE $7 <> 'CREATED'
    ORDER BY o.thread_id
    ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET read_seq = excluded.read_seq
        WHERE f.read_seq < excluded.read_seq
),
recipients AS MATERIALIZED (
    SELECT f.user_id, 'follower' AS reason, f.reason AS followed, o.object_type, o.messages, o.newest, o.thread_id, o.seq
    FROM objects o
    CROSS JOIN LATERAL (
        SELECT f.user_id, f.reason FROM thread_followers f
        WHERE f.team_id = $1 AND f.thread_id = o.thread_id AND f.following AND NOT f.muted
        OFFSET 0
    ) f
    WHERE f.user_id <> ALL ($9)
    UNION ALL
    SELECT w.user_id, 'watcher', NULL, o.object_type, o.messages, o.newest, o.thread_id, o.seq
    FROM objects o
    CROSS JOIN LATERAL (
        SELECT w.user_id FROM watches w
        WHERE w.team_id = $1 AND w.object_type = o.object_type
        OFFSET 0
    ) w
    WHERE $7 = 'CREATED' AND w.user_id <> ALL ($9) AND NOT coalesce((
        SELECT f.following OR f.muted FROM thread_followers f
        WHERE f.team_id = $1 AND f.thread_id = o.thread_id AND f.user_id = w.user_id
    ), false)
),
-- The rows are locked as the foreign key locks them, so a member who is being removed is left out. Each person's row is
-- locked once, whatever the number of notifications. IS TRUE below makes the condition a look-up in a hash table, and
-- not a join.
members AS MATERIALIZED (
    SELECT m.user_id FROM memberships m
    WHERE m.team_id = $1 AND m.user_id = ANY (ARRAY (SELECT DISTINCT r.user_id FROM recipients r))
    ORDER BY m.user_id
    FOR KEY SHARE
)
INSERT INTO notifications AS n (team_id, id, user_id, thread_id, reason, event_id, seq, unread_count, unread_seqs,
    why_seq, why_event_id, why_event_type, why_followed, why_rule_event_type, why_rule_object_type)
SELECT $1, (left($10::text, 19) || right(gen_random_uuid()::text, 17))::uuid, r.user_id, r.thread_id, r.reason,
    r.newest, r.seq, r.messages, ARRAY[r.seq], r.seq, r.newest, $7, r.followed, p.event_type, p.object_type
FROM recipients r
-- The most specific preference, or none. In the order of the table's key, '*' comes before every name. So the most
-- specific matching rule is the last one, and a backward scan of the key finds it without sorting.
LEFT JOIN LATERAL (
    SELECT p.event_type, p.object_type, p.in_app FROM notification_preferences p
    WHERE p.team_id = $1 AND p.user_id = r.user_id
        AND p.object_type IN (r.object_type, '*') AND p.event_type IN ($7, '*')
    ORDER BY p.object_type DESC, p.event_type DESC LIMIT 1
) p ON true
WHERE (r.user_id IN (SELECT m.user_id FROM members m)) IS TRUE AND p.in_app IS NOT FALSE
ORDER BY r.user_id, r.thread_id
