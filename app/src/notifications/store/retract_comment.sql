-- Removes a deleted comment from the notifications that count it. A notification that counts nothing else becomes read.
--
-- $1 team, $2 thread, $3 the comment's seq.
UPDATE notifications n SET
    unread_seqs = array_remove(n.unread_seqs, $3::bigint),
    unread_count = n.unread_count - 1,
    read_at = CASE WHEN n.unread_count = 1 THEN now() END,
    -- If the comment was the newest message, the one before it becomes the newest.
    seq = CASE WHEN n.seq = $3 THEN coalesce(
        (SELECT max(s.seq) FROM unnest(n.unread_seqs) AS s (seq) WHERE s.seq <> $3), n.seq) ELSE n.seq END,
    event_id = CASE WHEN n.seq = $3 THEN (
        -- Ordered by the table's key, so that the planner uses no other index.
        SELECT m.event_id FROM thread_messages m
        WHERE m.team_id = $1 AND m.thread_id = $2
            AND m.seq <= (SELECT max(s.seq) FROM unnest(n.unread_seqs) AS s (seq) WHERE s.seq <> $3)
        ORDER BY m.seq DESC LIMIT 1
    ) ELSE n.event_id END,
    version = n.version + 1,
    transaction_id = pg_current_xact_id()::text::bigint
WHERE n.team_id = $1 AND n.thread_id = $2 AND n.read_at IS NULL AND $3 = ANY (n.unread_seqs)
RETURNING n.user_id
