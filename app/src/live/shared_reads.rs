//! Reads on behalf of all subscribers: pages of threads, and, once a second, the positions of all followed topics.
//!
//! These transactions run as the system, in one team, under the team's policies. In contrast, a socket that reads for
//! itself does so as its own member.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::frames::{ThreadFrame, thread_frames};
use super::member::MemberId;
use crate::error::Result;
use crate::tenancy::{Context, Database, Snapshot};
use crate::threads::Cursor;
use crate::{auth, notifications, threads};

/// Maximum number of rows that are read at once.
pub(super) const PAGE_ROWS: i64 = 200;

/// A page of a thread's changes, encoded as frames.
pub(super) struct ThreadUpdate {
    pub(super) to: Cursor,
    pub(super) more: bool,
    pub(super) frames: Arc<[ThreadFrame]>,
}

/// Reads the next page of a thread's changes after a position. Returns `None` if the thread does not exist.
pub(super) async fn thread_update(
    database: &Database,
    team_id: Uuid,
    thread_id: Uuid,
    after: Cursor,
) -> Result<Option<ThreadUpdate>> {
    let tx = database.read(&Context::system(team_id, "live")).await?;
    // The transaction only reads, so it needs no commit: its drop rolls it back.
    let Some(changes) = threads::changes(&tx, thread_id, after, PAGE_ROWS).await? else {
        return Ok(None);
    };
    let (to, more) = (changes.to, changes.to != changes.head);
    Ok(Some(ThreadUpdate {
        to,
        more,
        frames: thread_frames(after, changes)?.into(),
    }))
}

/// A request to look up what has changed in a team.
pub(super) struct LookUpRequest {
    pub(super) team_id: Uuid,
    pub(super) threads: Vec<Uuid>,
    pub(super) people: Vec<Uuid>,
    pub(super) members: Vec<MemberId>,
    /// The snapshot of the previous look-up; `None` for the first one.
    pub(super) since: Option<Snapshot>,
}

/// The result of a look-up in a team.
pub(super) struct LookUpResult {
    /// The current positions of the threads.
    pub(super) heads: Vec<(Uuid, Cursor)>,
    /// The people whose notifications may have changed.
    pub(super) people: Vec<Uuid>,
    /// The snapshot of this look-up.
    pub(super) now: Snapshot,
    /// The members that are no longer in the team.
    pub(super) removed: HashSet<MemberId>,
}

/// Looks up what has changed in a team, and which members have left it.
pub(super) async fn look_up(database: &Database, request: LookUpRequest) -> Result<LookUpResult> {
    let tx = database.read(&Context::system(request.team_id, "live")).await?;
    let heads = match request.threads.as_slice() {
        [] => Vec::new(),
        threads => threads::heads(&tx, threads).await?,
    };
    let (changed, now) = notifications::changed_since(&tx, &request.people, &request.since).await?;
    let mut queried = (Vec::new(), Vec::new());
    for member in &request.members {
        match member {
            MemberId::Person(id) => queried.0.push(*id),
            MemberId::ApiKey(id) => queried.1.push(*id),
        }
    }
    let (people_without_access, keys_without_access) = auth::lost_access(&tx, &queried.0, &queried.1).await?;
    tx.commit().await?;
    let removed = people_without_access.into_iter().map(MemberId::Person);
    Ok(LookUpResult {
        heads,
        people: changed,
        now,
        removed: removed
            .chain(keys_without_access.into_iter().map(MemberId::ApiKey))
            .collect(),
    })
}
