-- A story's sessions, oldest first, as far as their bytes fit.
-- $1 team, $2 correlation id, $3 maximum number of sessions, $4 maximum number of bytes.
SELECT * FROM (
   SELECT s.*, count(*) OVER () AS found, sum(own_bytes) OVER (ORDER BY id) AS bytes FROM (
       SELECT id, job_name, job_id, queue_job_id, attempt, max_attempts, status, sentence, parts,
           NULL::jsonb AS input, e.error, e.error IS DISTINCT FROM s.error AS truncated, correlation_id,
           causation_id, queued_at, started_at, heartbeat_at, finished_at, cancel_requested_at,
           CASE WHEN context #>> '{actor,kind}' = 'job' THEN context #>> '{actor,id}' END AS asked_by,
           500 + octet_length(sentence) + coalesce(octet_length(e.error::text), 0) AS own_bytes
       FROM job_sessions s CROSS JOIN LATERAL (SELECT daybook_short_json(s.error) AS error OFFSET 0) e
       WHERE team_id = $1 AND correlation_id = $2 ORDER BY id LIMIT $3
   ) s
) s WHERE bytes - own_bytes < $4 ORDER BY id
