//! What the hub's task reads for all: pieces of threads, and once a second where everything is.
//!
//! It reads as the service, in one team, under the team's policies. A socket reads for itself as its own member.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::frames::{Step, thread_frames};
use super::service::Member;
use crate::error::Result;
use crate::tenancy::{Context, Database, Snapshot};
use crate::threads::Cursor;
use crate::{auth, notifications, threads};

/// How many messages are read at once.
pub(super) const PAGE: i64 = 200;

/// A piece of a thread's history as frames.
pub(super) struct Piece {
    pub(super) to: Cursor,
    pub(super) more: bool,
    pub(super) steps: Arc<[Step]>,
}

pub(super) async fn piece(database: &Database, team_id: Uuid, thread_id: Uuid, after: Cursor) -> Result<Option<Piece>> {
    let tx = database.read(&Context::system(team_id, "live")).await?;
    // Only read: what is dropped is rolled back while the frames are on their way.
    let Some(changes) = threads::changes(&tx, thread_id, after, PAGE).await? else {
        return Ok(None);
    };
    let (to, more) = (changes.to, changes.to != changes.head);
    Ok(Some(Piece {
        to,
        more,
        steps: thread_frames(after, changes)?.into(),
    }))
}

/// What to look at in a team.
pub(super) struct Question {
    pub(super) team_id: Uuid,
    pub(super) threads: Vec<Uuid>,
    pub(super) people: Vec<Uuid>,
    pub(super) members: Vec<Member>,
    /// What was visible then has been looked at; none: nothing yet.
    pub(super) since: Option<Snapshot>,
}

/// What there is to see in a team.
pub(super) struct LookAround {
    /// Where the threads are.
    pub(super) heads: Vec<(Uuid, Cursor)>,
    /// Whose notifications may have changed.
    pub(super) people: Vec<Uuid>,
    /// What was visible.
    pub(super) now: Snapshot,
    /// Who is no longer in the team.
    pub(super) gone: HashSet<Member>,
}

pub(super) async fn look_around(database: &Database, question: Question) -> Result<LookAround> {
    let tx = database.read(&Context::system(question.team_id, "live")).await?;
    let heads = match question.threads.as_slice() {
        [] => Vec::new(),
        threads => threads::heads(&tx, threads).await?,
    };
    let (changed, now) = notifications::changed_since(&tx, &question.people, &question.since).await?;
    let mut asked = (Vec::new(), Vec::new());
    for member in &question.members {
        match member {
            Member::Person(id) => asked.0.push(*id),
            Member::ApiKey(id) => asked.1.push(*id),
        }
    }
    let (people_gone, keys_gone) = auth::gone(&tx, &asked.0, &asked.1).await?;
    tx.commit().await?;
    let gone = people_gone.into_iter().map(Member::Person);
    Ok(LookAround {
        heads,
        people: changed,
        now,
        gone: gone.chain(keys_gone.into_iter().map(Member::ApiKey)).collect(),
    })
}
