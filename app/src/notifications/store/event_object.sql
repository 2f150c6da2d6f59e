-- The object of one call's events of one type. This is the common case, for which PostgreSQL caches a plan. Parameters
-- as in event_objects.sql.
WITH objects AS MATERIALIZED (
    SELECT $2::text AS object_type, $4::int AS messages, $5::uuid AS newest, t.id AS thread_id,
        t.last_seq - $6::int AS seq
    FROM threads t WHERE t.team_id = $1 AND t.object_type = $2::text AND t.object_id = $3::text
),
