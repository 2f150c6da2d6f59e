-- Adds a message to an existing notification.
ON CONFLICT (team_id, user_id, thread_id) DO UPDATE SET
    event_id = CASE WHEN excluded.seq > n.seq THEN excluded.event_id ELSE n.event_id END,
    seq = greatest(n.seq, excluded.seq),
    unread_count = n.unread_count + excluded.unread_count,
    -- The newest 100 counted messages, so that a deleted comment can be subtracted.
    unread_seqs = (n.unread_seqs || excluded.unread_seqs)[greatest(1, cardinality(n.unread_seqs) - 98):],
    -- An unread mention stays the reason until there is a newer mention. An older message does not replace a newer one,
    -- which may exist: a consumer that runs between our two consumers may have caused events and notified people of
    -- them.
    reason = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' AND excluded.reason <> 'mentioned'
        OR excluded.seq < n.seq THEN n.reason ELSE excluded.reason END,
    why_seq = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' AND excluded.reason <> 'mentioned'
        OR excluded.seq < n.seq THEN n.why_seq ELSE excluded.why_seq END,
    why_event_id = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' AND excluded.reason <> 'mentioned'
        OR excluded.seq < n.seq THEN n.why_event_id ELSE excluded.why_event_id END,
    why_event_type = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' AND excluded.reason <> 'mentioned'
        OR excluded.seq < n.seq THEN n.why_event_type ELSE excluded.why_event_type END,
    why_followed = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' AND excluded.reason <> 'mentioned'
        OR excluded.seq < n.seq THEN n.why_followed ELSE excluded.why_followed END,
    why_rule_event_type = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' AND excluded.reason <> 'mentioned'
        OR excluded.seq < n.seq THEN n.why_rule_event_type ELSE excluded.why_rule_event_type END,
    why_rule_object_type = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' AND excluded.reason <> 'mentioned'
        OR excluded.seq < n.seq THEN n.why_rule_object_type ELSE excluded.why_rule_object_type END,
    version = n.version + 1,
    read_at = NULL,
    transaction_id = excluded.transaction_id,
    updated_at = greatest(n.updated_at, excluded.updated_at)
RETURNING n.user_id
