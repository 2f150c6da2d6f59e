-- Posts an event to its object's thread, and creates the thread if there is none.
--
-- $1 team, $2 the id of a new thread, $3 and $4 the object's type and id, $5 its label, $6 and $7 its scope, $8 the event.
WITH posted AS (
    INSERT INTO threads AS t (team_id, id, object_type, object_id, object_label, scope_type, scope_id, last_seq)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 1)
    ON CONFLICT (team_id, object_type, object_id) DO UPDATE SET
        object_label = excluded.object_label,
        scope_type = excluded.scope_type,
        scope_id = excluded.scope_id,
        last_seq = t.last_seq + excluded.last_seq,
        updated_at = greatest(t.updated_at, excluded.updated_at)
    RETURNING t.id, t.last_seq
)
INSERT INTO thread_messages (team_id, thread_id, seq, kind, event_id)
SELECT $1, p.id, p.last_seq, 'system', $8::uuid FROM posted p
RETURNING thread_id
