//! The steps of a story, and their causes.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row as _;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::Result;
use crate::events::{Event, Sentences, event_from_row};
use crate::http::ByteBudget;
use crate::jobs::{self, ActionView, SessionView, ToldSession};
use crate::runs::{self, RunView};
use crate::tenancy::{Actor, TeamTx};
use crate::threads::ToldEvent;

/// How many events, how many sessions and how many runs of a story are told.
pub(super) const MOST: i64 = 1_000;
/// How many bytes of events a story reads, and about how many bytes of JSON it has in all.
const MAX_BYTES: i64 = 2 << 20;

/// All that has one correlation id.
#[derive(Debug, Serialize, ToSchema)]
pub struct Story {
    /// Which.
    pub correlation_id: Uuid,
    /// In the order in which they began.
    pub steps: Vec<StoryStep>,
    /// There is more than is told here: a story has 1,000 events, sessions and runs each, and 2 MiB, at most. Values
    /// that are long are cut.
    pub truncated: bool,
}

/// One thing that happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoryStep {
    /// Its id: an event's, a job session's, a run's.
    pub id: Uuid,
    /// When it happened, or began.
    pub at: DateTime<Utc>,
    /// The step of the story that caused it.
    pub caused_by: Option<Caused>,
    /// What it is.
    #[serde(flatten)]
    pub step: Step,
}

/// What a step is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = StoryStepKind)]
#[non_exhaustive]
pub enum Step {
    /// Something changed.
    Event {
        /// The change, in words.
        event: Box<ToldEvent>,
    },
    /// The system did something in the background.
    Job {
        /// The session, without its input.
        session: Box<SessionView>,
        /// Its first actions, 50 at most.
        actions: Vec<ActionView>,
    },
    /// Something ran, and said what is in its log.
    Run {
        /// The run.
        run: Box<RunView>,
    },
}

/// What caused a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
#[schema(as = StoryCause)]
#[non_exhaustive]
pub enum Caused {
    /// An event.
    Event(Uuid),
    /// A job session.
    Job(Uuid),
}

/// Everything of one correlation id, as far as it is in the transaction's team. A story of nothing is empty.
///
/// # Errors
/// As any statement.
pub async fn story(tx: &TeamTx, correlation_id: Uuid) -> Result<Story> {
    // Sums in the order of the answer, so that what is beyond them is neither sent nor held here.
    let query = sqlx::query(include_str!("events.sql"));
    let query = query
        .bind(tx.team_id())
        .bind(correlation_id)
        .bind(MOST + 1)
        .bind(MAX_BYTES);
    let rows = tx.fetch_all(query).await?;
    let found = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>("found"))?;
    let events = rows.iter().map(event_from_row).collect::<Result<Vec<_>>>()?;
    let (sessions, sessions_truncated) = jobs::of_story(tx, correlation_id, MOST + 1).await?;
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let runs = runs::of_story(tx, correlation_id, MOST.unsigned_abs() + 1).await?;
    let mut truncated = sessions_truncated
        || usize::try_from(found).is_ok_and(|found| found > events.len())
        || [events.len(), sessions.len(), runs.len()]
            .iter()
            .any(|told| *told > most);

    let causes = Causes::of(&events, &sessions);
    let words = Sentences::default();
    let sentences = tx.extension::<Sentences>().unwrap_or(&words);
    let mut steps: Vec<StoryStep> = Vec::with_capacity(events.len() + sessions.len());
    steps.extend(events.iter().take(most).map(|event| StoryStep {
        id: event.id,
        at: event.created_at,
        caused_by: causes.of_event(event),
        step: Step::Event {
            event: Box::new(ToldEvent::new(sentences, event)),
        },
    }));
    steps.extend(sessions.into_iter().take(most).map(|told| StoryStep {
        id: told.session.id,
        at: told.session.started_at,
        caused_by: causes.of_session(&told),
        step: Step::Job {
            session: Box::new(told.session),
            actions: told.actions,
        },
    }));
    steps.extend(runs.into_iter().take(most).map(|run| StoryStep {
        id: run.id,
        at: run.created_at,
        caused_by: causes.of_run(&run),
        step: Step::Run { run: Box::new(run) },
    }));
    steps.sort_by_key(|step| (step.at, step.id));
    let mut room = ByteBudget::new(usize::try_from(MAX_BYTES).unwrap_or(usize::MAX));
    for place in 0..steps.len() {
        if !room.takes(&steps[place])? {
            steps.truncate(place);
            truncated = true;
            break;
        }
    }
    Ok(Story {
        correlation_id,
        steps,
        truncated,
    })
}

/// Who is in the story.
struct Causes<'a> {
    events: HashMap<Uuid, &'a Event>,
    sessions: HashSet<Uuid>,
}

impl<'a> Causes<'a> {
    fn of(events: &'a [Event], sessions: &[ToldSession]) -> Self {
        Self {
            events: events.iter().map(|event| (event.id, event)).collect(),
            sessions: sessions.iter().map(|told| told.session.id).collect(),
        }
    }

    fn of_event(&self, event: &Event) -> Option<Caused> {
        let cause = event.causation_id.and_then(|id| self.events.get(&id));
        let job = match &event.actor {
            Actor::Job { id, .. } if self.sessions.contains(id) => Some(*id),
            _ => None,
        };
        match (cause, job) {
            // What a job recorded because of what it had recorded itself: the nearer cause.
            (Some(cause), Some(_)) if cause.actor == event.actor => Some(Caused::Event(cause.id)),
            (_, Some(job)) => Some(Caused::Job(job)),
            (Some(cause), None) => Some(Caused::Event(cause.id)),
            (None, None) => None,
        }
    }

    fn of_run(&self, run: &RunView) -> Option<Caused> {
        let job = run.job_session_id.filter(|id| self.sessions.contains(id));
        let cause = run.causation_id.filter(|id| self.events.contains_key(id));
        job.map(Caused::Job).or(cause.map(Caused::Event))
    }

    fn of_session(&self, told: &ToldSession) -> Option<Caused> {
        let cause = told.session.causation_id.filter(|id| self.events.contains_key(id));
        let job = told.asked_by.filter(|id| self.sessions.contains(id));
        cause.map(Caused::Event).or(job.map(Caused::Job))
    }
}
