//! Writes a session's actions.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::types::Json;

use crate::jobs::action::RenderedAction;
use crate::jobs::notifier::JOB_SESSIONS;
use crate::tenancy::{NumberedRow, Owner, PendingRow, SignalTopic};

impl NumberedRow for RenderedAction {
    const CHANGED: SignalTopic = JOB_SESSIONS;

    fn size_bytes(&self) -> usize {
        self.size_bytes + self.sentence.text.len() + size_of::<Self>()
    }

    fn insert<'q>(owner: Owner, first: i64, rows: &'q [PendingRow<Self>]) -> Query<'q, Postgres, PgArguments> {
        match rows {
            [one] => insert_one(owner, first, one),
            many => insert_many(owner, first, many),
        }
    }

    fn select_last(owner: Owner) -> String {
        format!(
            "SELECT coalesce(max(seq), 0) AS last FROM job_actions WHERE team_id = '{}' AND session_id = '{}'",
            owner.team_id, owner.id
        )
    }
}

fn insert_one(owner: Owner, seq: i64, action: &PendingRow<RenderedAction>) -> Query<'_, Postgres, PgArguments> {
    let rendered = &action.row;
    sqlx::query(
        "INSERT INTO job_actions (team_id, session_id, seq, at, action_type, sentence, parts, payload)
         SELECT $1, $2, $3, clock_timestamp() - $8 * interval '1 microsecond', $4, $5, $6, $7
         FROM (SELECT set_config('daybook.team_id', $1::uuid::text, true)) AS entered",
    )
    .bind(owner.team_id)
    .bind(owner.id)
    .bind(seq)
    .bind(&rendered.action_type)
    .bind(&rendered.sentence.text)
    .bind(rendered.sentence.parts.as_ref().map(Json))
    .bind(&rendered.payload)
    .bind(action.age_us())
}

fn insert_many(owner: Owner, first: i64, actions: &[PendingRow<RenderedAction>]) -> Query<'_, Postgres, PgArguments> {
    let rendered = || actions.iter().map(|action| &action.row);
    sqlx::query(
        "INSERT INTO job_actions (team_id, session_id, seq, at, action_type, sentence, parts, payload)
         SELECT $1, $2, $3 + a.place - 1, clock_timestamp() - a.age_us * interval '1 microsecond', a.action_type,
            a.sentence, a.parts, a.payload
         FROM (SELECT set_config('daybook.team_id', $1::uuid::text, true)) AS entered,
            unnest($4::text[], $5::text[], $6::jsonb[], $7::jsonb[], $8::bigint[])
                WITH ORDINALITY AS a (action_type, sentence, parts, payload, age_us, place)",
    )
    .bind(owner.team_id)
    .bind(owner.id)
    .bind(first)
    .bind(
        rendered()
            .map(|rendered| rendered.action_type.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        rendered()
            .map(|rendered| rendered.sentence.text.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        rendered()
            .map(|rendered| rendered.sentence.parts.as_ref().map(Json))
            .collect::<Vec<_>>(),
    )
    .bind(rendered().map(|rendered| &rendered.payload).collect::<Vec<_>>())
    .bind(actions.iter().map(PendingRow::age_us).collect::<Vec<_>>())
}
