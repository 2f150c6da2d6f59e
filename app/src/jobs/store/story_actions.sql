-- The first actions of sessions, in order, as far as their bytes fit.
-- $1 team, $2 sessions, $3 maximum number for each session, $4 maximum number of bytes.
SELECT * FROM (
   SELECT a.*, count(*) OVER () AS found, sum(own_bytes) OVER (ORDER BY session_id, seq) AS bytes FROM (
       SELECT a.*, 200 + octet_length(a.sentence) + octet_length(a.payload::text) AS own_bytes
       FROM unnest($2::uuid[]) AS s (id)
       CROSS JOIN LATERAL (
           SELECT session_id, seq, at, action_type, sentence, parts, daybook_short_json(payload) AS payload
           FROM job_actions WHERE team_id = $1 AND session_id = s.id ORDER BY seq LIMIT $3
       ) a
   ) a
) a WHERE bytes - own_bytes < $4 ORDER BY session_id, seq
