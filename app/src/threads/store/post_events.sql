-- Posts events to their objects' threads, and creates missing threads.
--
-- $1 team; per thread: $2 the id of a new one, $3 and $4 the object's type and id, $5 its label, $6 and $7 its scope,
-- $8 the number of events; per event: $9 its id, $10 and $11 its object's type and id, $12 the number of events of the
-- same object after it.
--
-- The statement is planned at each call. So the planner knows the number of rows of both parts from the arrays, and
-- chooses a hash join, whatever the statistics of the tables are.
WITH posted AS (
    INSERT INTO threads AS t (team_id, id, object_type, object_id, object_label, scope_type, scope_id, last_seq)
    SELECT $1, o.id, o.object_type, o.object_id, o.object_label, o.scope_type, o.scope_id, o.messages
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[])
        AS o (id, object_type, object_id, object_label, scope_type, scope_id, messages)
    ON CONFLICT (team_id, object_type, object_id) DO UPDATE SET
        object_label = excluded.object_label,
        scope_type = excluded.scope_type,
        scope_id = excluded.scope_id,
        last_seq = t.last_seq + excluded.last_seq,
        updated_at = greatest(t.updated_at, excluded.updated_at)
    RETURNING t.id, t.object_type, t.object_id, t.last_seq
)
INSERT INTO thread_messages (team_id, thread_id, seq, kind, event_id)
SELECT $1, p.id, p.last_seq - m.from_end, 'system', m.event_id
FROM unnest($9::uuid[], $10::text[], $11::text[], $12::bigint[]) AS m (event_id, object_type, object_id, from_end)
JOIN posted p ON p.object_type = m.object_type AND p.object_id = m.object_id
