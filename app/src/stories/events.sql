-- A story's events, oldest first, until their size reaches the maximum.
-- Names are selected as by `shown_name!` (`events/columns.rs`).
-- $1 team, $2 correlation id, $3 maximum number of events, $4 maximum number of bytes.
SELECT * FROM (
   SELECT e.*, count(*) OVER () AS found, sum(own_bytes) OVER (ORDER BY id) AS bytes FROM (
       SELECT e.*, 500 + octet_length(event_data::text) AS own_bytes FROM (
           SELECT id, team_id, event_type, event_name, object_type, object_id, object_label, threadable,
               scope_type, scope_id, actor_kind, actor_id, on_behalf_of, via, reason,
               CASE WHEN current_setting('daybook.erased_names', true) = 'pseudonym'
                   THEN daybook_shown_name(actor_id, actor_name) ELSE actor_name END AS actor_name,
               CASE WHEN current_setting('daybook.erased_names', true) = 'pseudonym'
                   THEN daybook_shown_name(on_behalf_of, on_behalf_of_name) ELSE on_behalf_of_name END AS on_behalf_of_name,
               daybook_short_json(event_data) AS event_data, schema_version, correlation_id,
               causation_id, request_id, transaction_id, created_at
           FROM events WHERE team_id = $1 AND correlation_id = $2 ORDER BY id LIMIT $3
       ) e
   ) e
) e WHERE bytes - own_bytes < $4 ORDER BY id
