-- The objects of one call's events of one type. deliver_events.sql follows.
--
-- $1 team, and per object: $2 its type, $3 its id, $4 the number of events, $5 the newest of them, $6 the number of
-- later messages of the same call; then $7 the events' type, $8 the person who caused the events, $9 the excluded
-- people, $10 a UUIDv7 whose time the new rows' ids get.
--
-- No plan of this statement is quadratic, whatever the statistics are. Each table is searched either by its key for
-- each outer row (in a LATERAL that OFFSET 0, LIMIT or a lock keeps separate), or once for all rows. Each reader of a
-- materialised part scans it once. No other index of these tables begins with team_id.
WITH objects AS MATERIALIZED (
    SELECT o.object_type, o.messages, o.newest, t.id AS thread_id, t.last_seq - o.from_end AS seq
    FROM unnest($2::text[], $3::text[], $4::int[], $5::uuid[], $6::int[])
        AS o (object_type, object_id, messages, newest, from_end)
    CROSS JOIN LATERAL (
        SELECT t.id, t.last_seq FROM threads t
        WHERE t.team_id = $1 AND t.object_type = o.object_type AND t.object_id = o.object_id
        OFFSET 0
    ) t
),
