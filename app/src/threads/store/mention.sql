-- Records the members whom an edited comment did not mention before, and makes them followers, unless they have
-- unfollowed the thread.
--
-- $1 team, $2 thread, $3 the comment's seq, $4 the handles that its text may mention, $5 those that the text could
-- mention before the edit (for comments that are older than the table of mentions), $6 the author as a person.
WITH thread AS (
    SELECT id, object_type FROM threads WHERE team_id = $1 AND id = $2
), known AS MATERIALIZED (
    SELECT coalesce(m.mentioned, ARRAY (
        SELECT user_id FROM memberships WHERE team_id = $1 AND handle = ANY ($5)
    )) AS people
    FROM thread_messages m WHERE m.team_id = $1 AND m.thread_id = $2 AND m.seq = $3
), mentioned AS MATERIALIZED (
    -- The rows are locked as the foreign keys lock them, so a member who is being removed is left out.
    SELECT user_id FROM memberships
    WHERE team_id = $1 AND handle = ANY ($4) AND user_id IS DISTINCT FROM $6
        AND user_id <> ALL (ARRAY (SELECT unnest(people) FROM known))
    ORDER BY user_id
    FOR KEY SHARE
), noted AS (
    UPDATE thread_messages m SET mentioned = known.people || ARRAY (SELECT user_id FROM mentioned)
    FROM known WHERE m.team_id = $1 AND m.thread_id = $2 AND m.seq = $3
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
    ) f
    ORDER BY f.user_id
    ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET following = true, reason = excluded.reason
        WHERE f.reason = 'reader'
)
SELECT user_id FROM mentioned
