//! Reads the steps of a story, and finds their causes.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row as _;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::Result;
use crate::events::{Event, EventsParts, event_from_row};
use crate::http::ByteBudget;
use crate::jobs::{self, ActionView, SessionView, StorySession};
use crate::runs::{self, RunView};
use crate::tenancy::{Actor, TeamTx};
use crate::threads::RenderedEvent;

/// Maximum number of events, of sessions and of runs in a story.
pub(super) const MAX_STEPS_PER_KIND: i64 = 1_000;
/// Maximum number of bytes of events that are read for a story. Also the approximate maximum size of the story's JSON.
const MAX_BYTES: i64 = 2 << 20;

/// Everything that has one correlation id.
#[derive(Debug, Serialize, ToSchema)]
pub struct Story {
    /// The correlation id.
    pub correlation_id: Uuid,
    /// The steps, in the order in which they began.
    pub steps: Vec<StoryStep>,
    /// True if the story is not complete: it has at most 1,000 events, 1,000 sessions and 1,000 runs, and 2 MiB in
    /// total. Long values are cut.
    pub truncated: bool,
}

/// A step of a story.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoryStep {
    /// The id of the event, job session or run.
    pub id: Uuid,
    /// When the event happened, or when the session or run began.
    pub at: DateTime<Utc>,
    /// The step of the same story that caused this one.
    pub caused_by: Option<Caused>,
    /// The step's kind and content.
    #[serde(flatten)]
    pub step: Step,
}

/// A kind of step, with its content.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = StoryStepKind)]
#[non_exhaustive]
pub enum Step {
    /// A change of an object.
    Event {
        /// The change, in words.
        event: Box<RenderedEvent>,
    },
    /// A job session.
    Job {
        /// The session, without its input.
        session: Box<SessionView>,
        /// Its first actions, at most 50.
        actions: Vec<ActionView>,
    },
    /// A run.
    Run {
        /// The run.
        run: Box<RunView>,
    },
}

/// The cause of a step.
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

/// Returns everything with one correlation id in the transaction's team. The story is empty if there is nothing.
///
/// # Errors
/// Those of any database statement.
pub async fn story(tx: &TeamTx, correlation_id: Uuid) -> Result<Story> {
    // The query sums up bytes in the order of the answer, so that rows beyond the limit are neither sent nor kept in
    // memory.
    let query = sqlx::query(include_str!("events.sql"));
    let query = query
        .bind(tx.team_id())
        .bind(correlation_id)
        .bind(MAX_STEPS_PER_KIND + 1)
        .bind(MAX_BYTES);
    let rows = tx.fetch_all(query).await?;
    let found = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>("found"))?;
    let events = rows.iter().map(event_from_row).collect::<Result<Vec<_>>>()?;
    let (sessions, sessions_truncated) = jobs::of_story(tx, correlation_id, MAX_STEPS_PER_KIND + 1).await?;
    let max_steps = usize::try_from(MAX_STEPS_PER_KIND).unwrap_or(usize::MAX);
    let runs = runs::of_story(tx, correlation_id, MAX_STEPS_PER_KIND.unsigned_abs() + 1).await?;
    let mut truncated = sessions_truncated
        || usize::try_from(found).is_ok_and(|found| found > events.len())
        || [events.len(), sessions.len(), runs.len()]
            .iter()
            .any(|count| *count > max_steps);

    let causes = Causes::of(&events, &sessions);
    let sentences = &EventsParts::of_tx(tx)?.sentences;
    let mut steps: Vec<StoryStep> = Vec::with_capacity(events.len() + sessions.len());
    steps.extend(events.iter().take(max_steps).map(|event| StoryStep {
        id: event.id,
        at: event.created_at,
        caused_by: causes.of_event(event),
        step: Step::Event {
            event: Box::new(RenderedEvent::new(sentences, event)),
        },
    }));
    steps.extend(sessions.into_iter().take(max_steps).map(|session| StoryStep {
        id: session.session.id,
        at: session.session.started_at,
        caused_by: causes.of_session(&session),
        step: Step::Job {
            session: Box::new(session.session),
            actions: session.actions,
        },
    }));
    steps.extend(runs.into_iter().take(max_steps).map(|run| StoryStep {
        id: run.id,
        at: run.created_at,
        caused_by: causes.of_run(&run),
        step: Step::Run { run: Box::new(run) },
    }));
    steps.sort_by_key(|step| (step.at, step.id));
    let mut budget = ByteBudget::new(usize::try_from(MAX_BYTES).unwrap_or(usize::MAX));
    for index in 0..steps.len() {
        if !budget.takes(&steps[index])? {
            steps.truncate(index);
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

/// The events and sessions of the story, among which causes are looked up.
struct Causes<'a> {
    events: HashMap<Uuid, &'a Event>,
    sessions: HashSet<Uuid>,
}

impl<'a> Causes<'a> {
    fn of(events: &'a [Event], sessions: &[StorySession]) -> Self {
        Self {
            events: events.iter().map(|event| (event.id, event)).collect(),
            sessions: sessions.iter().map(|session| session.session.id).collect(),
        }
    }

    fn of_event(&self, event: &Event) -> Option<Caused> {
        let cause = event.causation_id.and_then(|id| self.events.get(&id));
        let job = match &event.actor {
            Actor::Job { id, .. } if self.sessions.contains(id) => Some(*id),
            _ => None,
        };
        match (cause, job) {
            // A job recorded this event because of an event that it had recorded itself: the event is the nearer cause.
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

    fn of_session(&self, session: &StorySession) -> Option<Caused> {
        let cause = session.session.causation_id.filter(|id| self.events.contains_key(id));
        let job = session.requested_by.filter(|id| self.sessions.contains(id));
        cause.map(Caused::Event).or(job.map(Caused::Job))
    }
}
