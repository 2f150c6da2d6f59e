-- Posts a comment, and makes its author and the mentioned members followers, unless they have unfollowed the thread.
--
-- $1 team, $2 thread, $3 to $5 the author (kind, id, name), $6 the text, $7 the handles that it may mention, $8 the
-- author as a person, $9 and $10 the person for whom the author acts (id, name).
WITH thread AS (
    UPDATE threads SET last_seq = last_seq + 1, updated_at = greatest(updated_at, now())
    WHERE team_id = $1 AND id = $2
    RETURNING id, object_type, last_seq
), mentioned AS MATERIALIZED (
    -- The rows are locked as the foreign keys lock them, so a member who is being removed is left out.
    SELECT user_id FROM memberships
    WHERE team_id = $1 AND handle = ANY ($7) AND user_id IS DISTINCT FROM $8
    ORDER BY user_id
    FOR KEY SHARE
), posted AS (
    INSERT INTO thread_messages (team_id, thread_id, seq, kind, author_kind, author_id, author_name, on_behalf_of,
        on_behalf_of_name, body, mentioned)
    SELECT $1, id, last_seq, 'comment', $3, $4, $5, $9, $10, $6, ARRAY (SELECT user_id FROM mentioned) FROM thread
    RETURNING seq, created_at
), followed AS (
    INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason)
    SELECT $1, thread.id, f.user_id, true, f.reason
    FROM thread CROSS JOIN LATERAL (
        -- Rows with a person's own choice are not even locked. Next, these people's notifications are written. Marking
        -- a notification as read writes the two rows in the other order, so a lock here could lead to a deadlock. A
        -- person who has switched mentions off does not become a follower by a mention.
        SELECT user_id, 'mentioned' AS reason FROM mentioned WHERE NOT EXISTS (
            SELECT FROM thread_followers f WHERE f.team_id = $1 AND f.thread_id = thread.id
                AND f.user_id = mentioned.user_id AND f.reason <> 'reader'
        ) AND (
            SELECT p.in_app FROM notification_preferences p
            WHERE p.team_id = $1 AND p.user_id = mentioned.user_id AND p.event_type = 'MENTION'
                AND p.object_type IN (thread.object_type, '*')
            ORDER BY p.object_type DESC LIMIT 1) IS NOT FALSE
        UNION ALL
        SELECT $8, 'commenter' WHERE $8 IS NOT NULL
    ) f
    ORDER BY f.user_id
    -- A row with the reason 'reader' is not a choice of the person. A person's own message is not new to them, if
    -- nothing before it is new.
    ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET
        following = f.following OR f.reason = 'reader',
        reason = CASE WHEN f.reason = 'reader' THEN excluded.reason ELSE f.reason END,
        read_seq = CASE WHEN f.user_id = $8 AND f.read_seq = (SELECT last_seq FROM thread) - 1
            THEN f.read_seq + 1 ELSE f.read_seq END
        WHERE f.reason = 'reader' OR f.user_id = $8 AND f.read_seq = (SELECT last_seq FROM thread) - 1
)
SELECT seq, created_at, ARRAY (SELECT user_id FROM mentioned) AS mentioned FROM posted
